import { randomBytes } from 'node:crypto';
import { createAead } from '../../src/crypto/aead';
import type { Aead } from '../../src/crypto/aead';
import type { NativeDataKey } from '../../src/crypto/native';
import { defaultNonces, nativeDataKey } from '../../src/crypto/native';
import { RANDOM_NONCES } from '../../src/crypto/nonces';
import { Xaes256Gcm } from '../../src/crypto/xaes-256-gcm';
import { FieldCipher } from '../../src/field/field-cipher';
import { keyHeader } from '../../src/format/data-key-id';
import { tunedGcm, tunedSodium } from '../floor';
import type { Floor } from '../floor';
import { measure } from '../measure';
import type { Rounds } from '../measure';
import { SEVERAL } from '../pool';
import type { Measurement } from '../measure';
import { cipherSweet, cloak, typeormEncrypted } from '../peers';
import type { TextCipher } from '../peers';
import type { Result, Scenario, Sizes } from '../scenario';
import { VARIANTS } from '../variants';
import { KEY_ID, keySourceOf, POLICY } from './field';

const LENGTHS = [16, 64, 256, 1024, 16 * 1024];

interface Contender {
  readonly name: string;
  readonly cipher: TextCipher;
  /** Whether it is so much slower that fewer values suffice. */
  readonly slow?: boolean;
}

/** One value in memory: the floors, the peers, and the field cipher with each suite. */
export const oneValue: Scenario = {
  majors: [1],
  databases: ['SQLite in memory'],
  processes: SEVERAL,
  run: async ({ sizes }) => {
    const contenders = allContenders();
    const results: Result[] = [];
    for (const length of LENGTHS) {
      const name = length < 1024 ? `${String(length)} B` : `${String(length / 1024)} KiB`;
      const common = { setting: '', unit: 'one value' };
      const text = 'a'.repeat(length);
      const [encrypting, decrypting] = [
        await encrypt(contenders, text, sizes),
        await decrypt(contenders, text, sizes),
      ];
      results.push(
        { ...common, scenario: `encrypt ${name}`, measurements: encrypting },
        { ...common, scenario: `decrypt ${name}`, measurements: decrypting },
      );
    }
    return results;
  },
};

function encrypt(
  contenders: readonly Contender[],
  text: string,
  sizes: Sizes,
): Promise<Measurement[]> {
  const variants = contenders.map((contender) => {
    const texts = new Array<string>(countFor(contender, text, sizes)).fill(text);
    return {
      name: contender.name,
      items: texts.length,
      run: () => through(texts, contender.cipher.encrypt),
    };
  });
  return measure(variants, { items: sizes.values, rounds: manyRounds(sizes) });
}

/** Reads values that are all different, as the rows of a table are. */
async function decrypt(
  contenders: readonly Contender[],
  text: string,
  sizes: Sizes,
): Promise<Measurement[]> {
  const variants = [];
  for (const contender of contenders) {
    const { name, cipher } = contender;
    const stored: string[] = [];
    for (let i = countFor(contender, text, sizes); i > 0; i--) {
      stored.push(await cipher.encrypt(text));
    }
    variants.push({ name, items: stored.length, run: () => through(stored, cipher.decrypt) });
  }
  return measure(variants, { items: sizes.values, rounds: manyRounds(sizes) });
}

/** So short that the code has to be compiled before most of them. */
function manyRounds({ rounds }: Sizes): Rounds {
  return { ...rounds, seconds: rounds.seconds * 4 };
}

function countFor(
  { slow }: Contender,
  text: string,
  { values, slowValues, longValues }: Sizes,
): number {
  if (slow === true) return slowValues;
  return text.length > 1024 ? longValues : values;
}

/** Awaits only promises: to await every value would take most of the time. */
function through(values: readonly string[], work: TextCipher['encrypt']): unknown {
  for (const [i, value] of values.entries()) {
    const result = work(value);
    if (typeof result !== 'string') return throughAsync(result, values.slice(i + 1), work);
  }
  return undefined;
}

async function throughAsync(
  first: Promise<string>,
  values: readonly string[],
  work: TextCipher['encrypt'],
): Promise<void> {
  await first;
  for (const value of values) await work(value);
}

function allContenders(): Contender[] {
  const sodium = tunedSodium();
  const peer = typeormEncrypted();
  const candidates: (Omit<Contender, 'cipher'> & { cipher: TextCipher | undefined })[] = [
    { name: VARIANTS.gcmFloor, cipher: floorCipher(tunedGcm()) },
    {
      name: VARIANTS.xaes,
      cipher: nativeCipher(),
    },
    {
      name: VARIANTS.xaesJavaScript,
      cipher: fieldCipher(createAead('xaes-256-gcm', randomBytes(32), 'random')),
    },
    {
      name: VARIANTS.xaesUncached,
      cipher: fieldCipher(new Xaes256Gcm(randomBytes(32), RANDOM_NONCES, 1)),
    },
    { name: VARIANTS.sodiumFloor, cipher: sodium === undefined ? undefined : floorCipher(sodium) },
    {
      name: VARIANTS.xchacha,
      cipher: fieldCipher(createAead('xchacha20-poly1305', randomBytes(32), 'random')),
    },
    {
      name: VARIANTS.typeormEncrypted,
      cipher:
        peer === undefined
          ? undefined
          : {
              encrypt: (text) => peer.to(text) as string,
              decrypt: (stored) => peer.from(stored) as string,
            },
    },
    { name: VARIANTS.cloak, cipher: cloak() },
    { name: VARIANTS.cipherSweet, cipher: cipherSweet(), slow: true },
  ];
  return candidates.flatMap(({ cipher, ...rest }) =>
    cipher === undefined ? [] : [{ ...rest, cipher }],
  );
}

function floorCipher({ seal, open }: Floor): TextCipher {
  return { encrypt: seal, decrypt: open };
}

/** Creates a cipher with the add-on; `undefined` if that is not built. */
function nativeCipher(): TextCipher | undefined {
  const key = randomBytes(32);
  const mode = defaultNonces('xaes-256-gcm');
  const native = nativeDataKey('xaes-256-gcm', key, keyHeader(KEY_ID), mode);
  return native && fieldCipher(createAead('xaes-256-gcm', key, mode), native);
}

function fieldCipher(aead: Aead, native?: NativeDataKey): TextCipher {
  const cipher = new FieldCipher(POLICY, 'bench', keySourceOf(aead, native));
  return {
    encrypt: (text) => cipher.encrypt(text) as string,
    decrypt: (stored) => cipher.decrypt(stored) as string,
  };
}
