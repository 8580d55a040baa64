import type { CipherSuite } from '../../src/crypto/aead';
import { createAes256GcmSiv } from '../../src/crypto/aead';
import type { NonceChoosingAead } from '../../src/crypto/cipher-suite';
import { Xaes256Gcm } from '../../src/crypto/xaes-256-gcm';
import { createXchacha20Poly1305 } from '../../src/crypto/xchacha20-poly1305';
import type { ValueType } from '../../src/encoding/value-codec';
import { BlindIndex } from '../../src/field/blind-index';
import { FieldCipher } from '../../src/field/field-cipher';
import type { NormalizerName } from '../../src/field/normalizer';
import { resolveNormalizer } from '../../src/field/normalizer';
import type { Storage } from '../../src/format/field-ciphertext';
import { HEADER_BYTES } from '../../src/format/data-key-id';
import { fieldPolicy, SUITES, VALUE_TYPES } from '../support/field-fixtures';
import { FORMAT_1_VALUES } from '../support/format-1-values';
import { hex } from '../support/shared-vectors';
import { staticKey, StaticKeySource } from '../support/static-key-source';

import golden from './format-1.json';

interface GoldenCiphertext {
  readonly suite: CipherSuite;
  readonly storage: Storage;
  readonly type: ValueType;
  readonly value: string;
  readonly stored: string;
}

interface GoldenToken {
  readonly value: string;
  readonly normalizer: NormalizerName;
  readonly bits?: number;
  readonly token: string;
}

const ciphertexts = golden.ciphertexts as readonly GoldenCiphertext[];
const tokens = golden.tokens as readonly GoldenToken[];

const AEADS: Readonly<Record<CipherSuite, (key: Buffer) => NonceChoosingAead>> = {
  'xaes-256-gcm': (key) => new Xaes256Gcm(key),
  'xchacha20-poly1305': (key) => createXchacha20Poly1305(key),
  'aes-256-gcm-siv': createAes256GcmSiv,
};

describe('format 1', () => {
  it('is on file for every suite, storage and type', () => {
    const covered = new Set(ciphertexts.map(({ suite, storage, type }) => suite + storage + type));
    expect(covered.size).toBe(SUITES.length * 2 * VALUE_TYPES.length);
  });

  it.each(ciphertexts)('is read: $suite, $storage, $type "$value"', (line) => {
    expect(cipherOf(line).decrypt(storedOf(line))).toStrictEqual(valueOf(line.value));
  });

  it.each(ciphertexts)('is written: $suite, $storage, $type "$value"', (line) => {
    const aead = AEADS[line.suite](hex(golden.dataKey.bytes));
    const nonce = bytesOf(line).subarray(HEADER_BYTES, HEADER_BYTES + aead.nonceBytes);
    expect(cipherOf(line, nonce).encrypt(valueOf(line.value))).toEqual(storedOf(line));
  });

  it.each(tokens)('has the token of "$value" by $normalizer', (line) => {
    const index = new BlindIndex(
      fieldPolicy({ type: typeOf(line.value), fieldId: golden.fieldId }),
      {
        name: golden.indexRoot.indexName,
        normalizer: resolveNormalizer(line.normalizer),
        bits: line.bits,
        unique: false,
        previous: [],
      },
      golden.application,
      new StaticKeySource([]),
    );
    expect(index.token(valueOf(line.value))).toBe(line.token);
  });
});

/** The cipher of a line; one that repeats a nonce, where it is given. */
function cipherOf({ suite, storage, type }: GoldenCiphertext, nonce?: Buffer): FieldCipher {
  const aead = AEADS[suite](hex(golden.dataKey.bytes));
  if (nonce !== undefined) {
    aead.seal = (message, associatedData) => {
      aead.sealWithNonce(nonce, message, associatedData);
    };
  }
  return new FieldCipher(
    fieldPolicy({ type, storage, fieldId: golden.fieldId }),
    golden.application,
    new StaticKeySource([staticKey({ id: golden.dataKey.id, suite, aead })]),
  );
}

function storedOf(line: GoldenCiphertext): string | Buffer {
  return line.storage === 'text' ? line.stored : bytesOf(line);
}

function bytesOf({ storage, stored }: GoldenCiphertext): Buffer {
  return Buffer.from(stored, storage === 'text' ? 'base64url' : 'hex');
}

function valueOf(name: string): unknown {
  return FORMAT_1_VALUES[name]?.value;
}

function typeOf(name: string): ValueType {
  return FORMAT_1_VALUES[name]?.type ?? 'string';
}
