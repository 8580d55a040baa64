import { createDecipheriv, createSecretKey, getCipherInfo } from 'node:crypto';
import type { CipherGCMTypes, Decipher, KeyObject } from 'node:crypto';

import { wipe } from '../crypto/secret-bytes';
import { decodeBase64 } from '../encoding/base64url';
import { OptionChecks } from '../kms/remote/option-checks';

import { undecryptable } from './previous-format';
import type { LocalPreviousFormat } from './previous-format';

/** The unchanged options of the column's `EncryptionTransformer` or `encrypt`. */
export interface TypeormEncryptedOptions {
  /** Hexadecimal, as for typeorm-encrypted, or the bytes. */
  readonly key: string | Uint8Array;
  /** Such as `aes-256-gcm` or `aes-256-cbc`, in one of the modes GCM, CBC, CTR, CFB, OFB or ECB. */
  readonly algorithm: string;
  /** Length of the initialization vector in bytes. */
  readonly ivLength: number;
  /** Length of the authentication tag in bytes, if the algorithm has one. Defaults to 16. */
  readonly authTagLength?: number;
  /** Accepted, so that the options can be passed unchanged. The vector is read from the value. */
  readonly iv?: string;
  /** Accepted, so that the options can be passed unchanged. Has no effect on a value. */
  readonly looseMatching?: boolean;
}

const NAMES: readonly string[] = [
  'key',
  'algorithm',
  'ivLength',
  'authTagLength',
  'iv',
  'looseMatching',
] satisfies (keyof TypeormEncryptedOptions)[];

/** The modes in which typeorm-encrypted can read what it writes. */
const MODES: readonly (string | undefined)[] = ['gcm', 'cbc', 'ctr', 'cfb', 'ofb', 'ecb'];
const GCM_TAG_BYTES = [4, 8, 12, 13, 14, 15, 16];
const DEFAULT_TAG_BYTES = 16;

const check: OptionChecks = new OptionChecks('typeormEncryptedFormat');

/**
 * The format `base64(iv ‖ tag ‖ ciphertext)`, without a tag if the algorithm has none, also within the object
 * `{ "encrypted": … }` of `JSONEncryptionTransformer`.
 */
export class TypeormEncryptedFormat implements LocalPreviousFormat {
  readonly name = 'typeorm-encrypted';
  readonly #key: KeyObject;
  readonly #algorithm: string;
  readonly #ivBytes: number;
  /** 0 for an algorithm without authentication. */
  readonly #tagBytes: number;
  /** Ciphertexts are a multiple of it, and not empty; undefined if they may have any length. */
  readonly #blockBytes: number | undefined;

  /** @throws {@link ConfigurationError} that names the option, and never the key */
  constructor(options: TypeormEncryptedOptions) {
    check.known(options, NAMES);
    const { algorithm, ivLength, authTagLength = DEFAULT_TAG_BYTES } = options;
    const info = typeof algorithm === 'string' ? getCipherInfo(algorithm) : undefined;
    check.require(
      info !== undefined && MODES.includes(info.mode),
      'algorithm must be one that typeorm-encrypted can read, such as aes-256-gcm or aes-256-cbc',
    );
    this.#ivBytes = check.integer('ivLength', ivLength, 0, 128);
    check.require(
      info.mode === 'gcm'
        ? getCipherInfo(algorithm, { ivLength: this.#ivBytes }) !== undefined
        : this.#ivBytes === (info.ivLength ?? 0),
      'ivLength does not fit the algorithm',
    );
    check.require(
      info.mode !== 'gcm' || GCM_TAG_BYTES.includes(authTagLength),
      'authTagLength must be one of 4, 8 and 12 to 16',
    );
    this.#algorithm = algorithm;
    this.#key = parseKey(options.key, info.keyLength);
    this.#tagBytes = info.mode === 'gcm' ? authTagLength : 0;
    this.#blockBytes = info.mode === 'cbc' || info.mode === 'ecb' ? info.blockSize : undefined;
  }

  recognises(stored: string): boolean {
    return this.#bytesOf(stored) !== undefined;
  }

  decrypt(stored: string): Uint8Array {
    const bytes = this.#bytesOf(stored) ?? Buffer.alloc(0);
    const tagEnd = this.#ivBytes + this.#tagBytes;
    try {
      const decipher = this.#decipher(
        bytes.subarray(0, this.#ivBytes),
        bytes.subarray(this.#ivBytes, tagEnd),
      );
      const plaintext = decipher.update(bytes.subarray(tagEnd));
      return Buffer.concat([plaintext, decipher.final()]);
    } catch {
      throw undecryptable(
        this.name,
        this.#tagBytes > 0 ? 'does not authenticate' : 'does not decrypt',
        'Check the options of typeormEncryptedFormat against those the column had, or restore the row.',
      );
    }
  }

  #decipher(iv: Buffer, tag: Buffer): Decipher {
    if (this.#tagBytes === 0) return createDecipheriv(this.#algorithm, this.#key, iv);
    const decipher = createDecipheriv(this.#algorithm as CipherGCMTypes, this.#key, iv, {
      authTagLength: this.#tagBytes,
    });
    return decipher.setAuthTag(tag);
  }

  /** Decodes a value; `undefined` if typeorm-encrypted cannot have written it with these options. */
  #bytesOf(stored: string): Buffer | undefined {
    const bytes = decodeBase64(stored.startsWith('{') ? unwrapJson(stored) : stored);
    if (bytes === undefined) return undefined;
    const sealedBytes = bytes.length - this.#ivBytes - this.#tagBytes;
    const isWhole =
      this.#blockBytes === undefined
        ? sealedBytes >= 0 && bytes.length > 0
        : sealedBytes > 0 && sealedBytes % this.#blockBytes === 0;
    return isWhole ? bytes : undefined;
  }
}

/** Returns the text in `{ "encrypted": … }`; for any other text an empty one, which is no ciphertext. */
function unwrapJson(text: string): string {
  try {
    const { encrypted, ...others } = JSON.parse(text) as Record<string, unknown>;
    return typeof encrypted === 'string' && Object.keys(others).length === 0 ? encrypted : '';
  } catch {
    return '';
  }
}

function parseKey(key: unknown, keyBytes: number): KeyObject {
  const isHex = typeof key === 'string' && /^(?:[\da-f]{2})*$/i.test(key);
  check.require(
    isHex || key instanceof Uint8Array,
    'key must be hexadecimal digits, as typeorm-encrypted takes it, or bytes',
  );
  const bytes = isHex ? Buffer.from(key, 'hex') : Uint8Array.from(key as Uint8Array);
  try {
    check.require(
      bytes.length === keyBytes,
      `key must have the ${String(keyBytes)} bytes of the algorithm`,
    );
    return createSecretKey(bytes);
  } finally {
    wipe(bytes);
  }
}
