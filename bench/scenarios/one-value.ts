import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  randomBytes,
  randomFillSync,
} from 'node:crypto';
import { createAead } from '../../src/crypto/aead';
import type { CipherSuite } from '../../src/crypto/aead';
import { LABELS } from '../../src/crypto/labels';
import { BlindIndex } from '../../src/field/blind-index';
import { FieldCipher } from '../../src/field/field-cipher';
import type { FieldPolicy } from '../../src/field/field-policy';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';
import { resolveNormalizer } from '../../src/field/normalizer';
import { HEADER_BYTES, keyPrefix } from '../../src/format/data-key-id';
import type { DataKey } from '../../src/keys/data-key';
import type { KeySource } from '../../src/keys/key-source';
import { measure } from '../measure';
import type { Variant } from '../measure';
import type { Result, Scenario } from '../scenario';

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

/** One value in memory: the floor of node:crypto, tuned, and the field cipher with each suite. */
export const oneValue: Scenario = async ({ values, rounds }) => {
  const results: Result[] = [];
  for (const length of LENGTHS) {
    const count = length > 1024 ? Math.ceil(values / 10) : values;
    const text = 'a'.repeat(length);
    const encrypted = (cipher: FieldCipher): (() => void) =>
      repeat(count, () => cipher.encrypt(text));
    const decrypted = (cipher: FieldCipher): (() => void) => {
      const stored = cipher.encrypt(text);
      return repeat(count, () => cipher.decrypt(stored));
    };
    const floor = tunedGcm();
    const sealed = floor.seal(text);
    const unit = `${String(count)} values of ${String(length)} B`;
    results.push({
      scenario: `encrypt ${String(length)} B`,
      unit,
      measurements: await measure(
        [
          { name: 'node:crypto AES-256-GCM, tuned', run: repeat(count, () => floor.seal(text)) },
          ...ours(encrypted),
        ],
        rounds,
      ),
    });
    results.push({
      scenario: `decrypt ${String(length)} B`,
      unit,
      measurements: await measure(
        [
          { name: 'node:crypto AES-256-GCM, tuned', run: repeat(count, () => floor.open(sealed)) },
          ...ours(decrypted),
        ],
        rounds,
      ),
    });
  }
  results.push(await token(values, rounds));
  return results;
};

async function token(values: number, rounds: number): Promise<Result> {
  const key = createSecretKey(randomBytes(32));
  const index = new BlindIndex(
    POLICY,
    {
      name: '',
      normalizer: resolveNormalizer('exact'),
      bits: undefined,
      unique: false,
      previous: [],
    },
    'bench',
    keySource('xaes-256-gcm'),
  );
  const email = 'ada.lovelace@example.org';
  const bare = (): string => createHmac('sha256', key).update(email).digest('base64url');
  return {
    scenario: 'blind-index token',
    unit: `${String(values)} tokens`,
    measurements: await measure(
      [
        { name: 'bare createHmac', run: repeat(values, bare) },
        { name: 'blind index, exact', run: repeat(values, () => index.token(email)) },
      ],
      rounds,
    ),
  };
}

function ours(work: (cipher: FieldCipher) => () => void): Variant[] {
  const suites: CipherSuite[] = ['xaes-256-gcm', 'xchacha20-poly1305'];
  return suites.map((suite) => ({
    name: `field cipher, ${suite}`,
    run: work(new FieldCipher(POLICY, 'bench', keySource(suite))),
  }));
}

function repeat(count: number, work: () => unknown): () => void {
  return () => {
    for (let i = 0; i < count; i++) work();
  };
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
  const indexRoots = [{ id, deriveIndexKey: () => indexKey }] as const;
  return {
    activeKey: () => key,
    keyByPrefix: () => key,
    indexRoots: () => indexRoots,
  };
}

/** The least that AES-256-GCM into a text column takes in Node: see performance notes in docs. */
function tunedGcm(): { seal(text: string): string; open(stored: string): string } {
  const key = createSecretKey(randomBytes(32));
  const associatedData = Buffer.from(LABELS.fieldAssociatedData);
  const options = { authTagLength: 16 };
  const pool = Buffer.allocUnsafeSlow(16 * 1024);
  let at = pool.length;
  const nonce = (): Buffer => {
    if (at + 12 > pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += 12;
    return pool.subarray(at - 12, at);
  };
  return {
    seal: (text) => {
      const bytes = Buffer.byteLength(text);
      const out = Buffer.allocUnsafe(HEADER_BYTES + 12 + bytes + 16);
      const iv = nonce();
      const cipher = createCipheriv('aes-256-gcm', key, iv, options).setAAD(associatedData);
      out.set(iv, HEADER_BYTES);
      out.set(cipher.update(text, 'utf8'), HEADER_BYTES + 12);
      cipher.final();
      out.set(cipher.getAuthTag(), out.length - 16);
      return out.toString('base64url');
    },
    open: (stored) => {
      const bytes = Buffer.from(stored, 'base64url');
      const iv = bytes.subarray(HEADER_BYTES, HEADER_BYTES + 12);
      const decipher = createDecipheriv('aes-256-gcm', key, iv, options)
        .setAAD(associatedData)
        .setAuthTag(bytes.subarray(bytes.length - 16));
      const plain = decipher.update(bytes.subarray(HEADER_BYTES + 12, bytes.length - 16));
      decipher.final();
      return plain.toString('utf8');
    },
  };
}
