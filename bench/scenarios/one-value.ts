import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { createAead } from '../../src/crypto/aead';
import type { CipherSuite } from '../../src/crypto/aead';
import { BlindIndex } from '../../src/field/blind-index';
import { FieldCipher } from '../../src/field/field-cipher';
import type { FieldPolicy } from '../../src/field/field-policy';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';
import { resolveNormalizer } from '../../src/field/normalizer';
import { keyPrefix } from '../../src/format/data-key-id';
import type { DataKey } from '../../src/keys/data-key';
import type { KeySource } from '../../src/keys/key-source';
import { tunedGcm, tunedSodium } from '../floor';
import type { Floor } from '../floor';
import { measure } from '../measure';
import type { Variant } from '../measure';
import { cipherSweet, cloak, typeormEncrypted } from '../peers';
import type { TextCipher } from '../peers';
import type { Result, Scenario } from '../scenario';
import { VARIANTS } from '../variants';

const LENGTHS = [16, 64, 256, 1024, 16 * 1024];
const POLICY: FieldPolicy = {
  entity: 'Patient',
  property: 'note',
  fieldId: 'Patient.note',
  type: 'string',
  storage: 'text',
  keyName: 'default',
  maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
  columnLength: undefined,
};

/** So much slower that a share of the values does. */
const SLOW_SHARE = 20;

interface Contender {
  readonly name: string;
  readonly cipher: TextCipher;
  readonly slow?: boolean;
}

/** One value in memory: the floors, the peers, and the field cipher with each suite. */
export const oneValue: Scenario = {
  majors: [1],
  databases: ['SQLite in memory'],
  run: async ({ sizes: { values, rounds } }) => {
    const contenders = allContenders();
    const results: Result[] = [];
    for (const length of LENGTHS) {
      const count = length > 1024 ? Math.ceil(values / 5) : values;
      results.push(...(await seal(contenders, length, count, rounds)));
    }
    return [...results, await token(values, rounds)];
  },
};

async function seal(
  contenders: readonly Contender[],
  length: number,
  count: number,
  rounds: number,
): Promise<Result[]> {
  const text = 'a'.repeat(length);
  const stored = await Promise.all(contenders.map(({ cipher }) => cipher.encrypt(text)));
  const common = { setting: '', unit: 'one value' };
  const variants = (work: (cipher: TextCipher, i: number) => () => unknown): Variant[] =>
    contenders.map(({ name, cipher, slow }, i) => {
      const items = slow === true ? Math.ceil(count / SLOW_SHARE) : count;
      return { name, items, run: repeat(items, work(cipher, i)) };
    });
  return [
    {
      ...common,
      scenario: `encrypt ${lengthName(length)}`,
      measurements: await measure(
        variants((cipher) => () => cipher.encrypt(text)),
        { items: count, rounds },
      ),
    },
    {
      ...common,
      scenario: `decrypt ${lengthName(length)}`,
      measurements: await measure(
        variants((cipher, i) => () => cipher.decrypt(stored[i] ?? '')),
        { items: count, rounds },
      ),
    },
  ];
}

function lengthName(bytes: number): string {
  return bytes < 1024 ? `${String(bytes)} B` : `${String(bytes / 1024)} KiB`;
}

function allContenders(): Contender[] {
  const sodium = tunedSodium();
  const peer = typeormEncrypted();
  const candidates: (Omit<Contender, 'cipher'> & { cipher: TextCipher | undefined })[] = [
    { name: VARIANTS.gcmFloor, cipher: floorCipher(tunedGcm()) },
    { name: VARIANTS.xaes, cipher: fieldCipher('xaes-256-gcm') },
    { name: VARIANTS.sodiumFloor, cipher: sodium === undefined ? undefined : floorCipher(sodium) },
    { name: VARIANTS.xchacha, cipher: fieldCipher('xchacha20-poly1305') },
    {
      name: VARIANTS.typeormEncrypted,
      cipher: peer === undefined ? undefined : { encrypt: (text) => peer.to(text), decrypt: (stored) => peer.from(stored) },
    },
    { name: VARIANTS.cloak, cipher: cloak() },
    { name: VARIANTS.cipherSweet, cipher: cipherSweet(), slow: true },
  ];
  return candidates.flatMap(({ cipher, ...rest }) =>
    cipher === undefined ? [] : [{ ...rest, cipher }],
  );
}

function floorCipher({ seal: encrypt, open: decrypt }: Floor): TextCipher {
  return { encrypt, decrypt };
}

function fieldCipher(suite: CipherSuite): TextCipher {
  const cipher = new FieldCipher(POLICY, 'bench', keySource(suite));
  return {
    encrypt: (text) => cipher.encrypt(text) as string,
    decrypt: (stored) => cipher.decrypt(stored) as string,
  };
}

async function token(values: number, rounds: number): Promise<Result> {
  const key = createSecretKey(randomBytes(32));
  const index = new BlindIndex(
    POLICY,
    { name: '', normalizer: resolveNormalizer('exact'), bits: undefined, unique: false },
    'bench',
    keySource('xaes-256-gcm'),
  );
  const emails = Array.from({ length: values }, (_, i) => `ada.lovelace${String(i)}@example.org`);
  const bare = (email: string): string =>
    createHmac('sha256', key).update(email).digest('base64url');
  const peer = cipherSweet();
  const few = emails.slice(0, Math.ceil(values / SLOW_SHARE));
  const variants: Variant[] = [
    { name: VARIANTS.hmacFloor, run: () => emails.map(bare) },
    { name: VARIANTS.blindIndex, run: () => emails.map((email) => index.token(email)) },
  ];
  if (peer !== undefined) {
    variants.push({
      name: VARIANTS.cipherSweet,
      items: few.length,
      run: async () => {
        for (const email of few) await peer.token(email);
      },
    });
  }
  return {
    scenario: 'blind-index token',
    setting: '',
    unit: 'one token of a 29-byte address',
    measurements: await measure(variants, { items: values, rounds }),
  };
}

/** Waits only for what is asynchronous: a promise for each value would be most of the time. */
function repeat(count: number, work: () => unknown): () => unknown {
  return () => {
    for (let i = 0; i < count; i++) {
      const result = work();
      if (result instanceof Promise) return result.then(() => repeatAsync(count - 1, work));
    }
    return undefined;
  };
}

async function repeatAsync(count: number, work: () => unknown): Promise<void> {
  for (let i = 0; i < count; i++) await work();
}

function keySource(suite: CipherSuite): KeySource {
  const id = '0123456789abcdef';
  const prefix = keyPrefix(id);
  const key: DataKey = {
    id,
    name: 'default',
    version: 1,
    suite,
    prefix,
    header: Buffer.from(prefix, 'base64url'),
    aead: createAead(suite, randomBytes(32)),
  };
  const indexKey = createSecretKey(randomBytes(32));
  const indexRoot = { id, deriveIndexKey: () => indexKey };
  return {
    activeKey: () => key,
    keyByPrefix: () => key,
    indexRoot: () => indexRoot,
  };
}
