import { createHmac, createSecretKey, randomBytes } from 'node:crypto';

import { createAead } from '../../src/crypto/aead';
import { BlindIndex } from '../../src/field/blind-index';
import { resolveNormalizer } from '../../src/field/normalizer';
import { measure } from '../measure';
import type { Variant } from '../measure';
import { cipherSweet } from '../peers';
import { SEVERAL } from '../pool';
import type { Scenario } from '../scenario';
import { VARIANTS } from '../variants';

import { keySourceOf, POLICY } from './field';

const EXACT = {
  name: '',
  normalizer: resolveNormalizer('exact'),
  bits: undefined,
  unique: false,
  previous: [],
};

/** Blind-index tokens of values that are all different. */
export const token: Scenario = {
  majors: [1],
  databases: ['SQLite in memory'],
  processes: SEVERAL,
  run: async ({ sizes: { values, slowValues, rounds } }) => {
    const emails = Array.from({ length: values }, (_, i) => `ada.lovelace${String(i)}@example.org`);
    const key = createSecretKey(randomBytes(32));
    const keys = keySourceOf(createAead('xaes-256-gcm', randomBytes(32)));
    const index = new BlindIndex(POLICY, EXACT, 'bench', keys);
    const bare = (email: string): string =>
      createHmac('sha256', key).update(email).digest('base64url');
    const variants: Variant[] = [
      { name: VARIANTS.hmacFloor, run: () => emails.map(bare) },
      { name: VARIANTS.blindIndex, run: () => emails.map((email) => index.token(email)) },
    ];
    const peer = cipherSweet();
    if (peer !== undefined) {
      variants.push({
        name: VARIANTS.cipherSweet,
        items: slowValues,
        run: async () => {
          for (const email of emails.slice(0, slowValues)) await peer.token(email);
        },
      });
    }
    return [
      {
        scenario: 'blind-index token',
        setting: '',
        unit: 'one token of an e-mail address',
        measurements: await measure(variants, { items: values, rounds }),
      },
    ];
  },
};
