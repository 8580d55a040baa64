import type { CipherSuite, NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import { fillRandom } from './random';

/** An AEAD of noble-ciphers: made anew for each message, and its output ends in the tag. */
type NobleCipher = (
  key: Uint8Array,
  nonce: Uint8Array,
  associatedData: Uint8Array,
) => {
  encrypt(plaintext: Uint8Array): Uint8Array;
  /** Throws when the message does not authenticate. */
  decrypt(sealed: Uint8Array): Uint8Array;
};

/** A cipher suite in JavaScript, for what neither OpenSSL nor an add-on offers. */
export class NobleAead implements NonceChoosingAead {
  readonly suite: CipherSuite;
  readonly nonceBytes: number;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #cipher: NobleCipher;
  readonly #key: Uint8Array;

  constructor(suite: CipherSuite, nonceBytes: number, cipher: NobleCipher, key: Uint8Array) {
    this.suite = suite;
    this.nonceBytes = nonceBytes;
    this.#cipher = cipher;
    this.#key = Uint8Array.from(key);
  }

  seal(plaintext: Uint8Array, associatedData: Uint8Array, target: Buffer, offset: number): void {
    const nonce = new Uint8Array(this.nonceBytes);
    fillRandom(nonce, 0, this.nonceBytes);
    this.sealWithNonce(nonce, plaintext, associatedData, target, offset);
  }

  sealWithNonce(
    nonce: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void {
    const sealed = this.#cipher(this.#key, nonce, associatedData).encrypt(plaintext);
    target.set(nonce, offset);
    target.set(sealed, offset + this.nonceBytes);
  }

  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer {
    const body = offset + this.nonceBytes;
    if (source.length - body < AEAD_TAG_BYTES) throw new AeadError();
    const cipher = this.#cipher(this.#key, source.subarray(offset, body), associatedData);
    try {
      return toBuffer(cipher.decrypt(source.subarray(body)));
    } catch {
      throw new AeadError();
    }
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
