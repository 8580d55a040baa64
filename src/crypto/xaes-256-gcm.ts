import type { KeyObject } from 'node:crypto';

import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES, AeadError } from './cipher-suite';
import { openGcm, sealGcm } from './gcm';
import { fillRandom } from './random';
import { XaesKeyDerivation } from './xaes-key-derivation';

const NONCE_BYTES = 24;
const PREFIX_BYTES = 12;
/**
 * Messages under one prefix, hence under one derived key with random 96-bit nonces: far below the
 * 2^32 of SP 800-38D section 8.3, for a chance of a repeated nonce of some 2^-57.
 */
const MESSAGES_PER_PREFIX = 2 ** 20;

/**
 * XAES-256-GCM (C2SP): AES-256-GCM with a 192-bit nonce.
 *
 * The key of a message depends on the first 12 bytes of its nonce only. A writer keeps random 12
 * bytes for a bounded, exactly counted number of messages and draws the other 12 for each, so that
 * it derives one key for each prefix rather than for each message; the output is plain XAES.
 */
export class Xaes256Gcm implements NonceChoosingAead {
  readonly suite = 'xaes-256-gcm';
  readonly nonceBytes = NONCE_BYTES;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #derivation: XaesKeyDerivation;
  readonly #prefix = Buffer.allocUnsafeSlow(PREFIX_BYTES);
  readonly #messagesPerPrefix: number;
  #messageKey: KeyObject | undefined;
  #messagesLeft = 0;

  /** `messagesPerPrefix` is lowered by tests only. */
  constructor(key: Uint8Array, messagesPerPrefix = MESSAGES_PER_PREFIX) {
    this.#derivation = new XaesKeyDerivation(key);
    this.#messagesPerPrefix = messagesPerPrefix;
  }

  seal(plaintext: Uint8Array, associatedData: Uint8Array, target: Buffer, offset: number): void {
    const key = this.#nextMessageKey();
    target.set(this.#prefix, offset);
    fillRandom(target, offset + PREFIX_BYTES, NONCE_BYTES - PREFIX_BYTES);
    const nonce = target.subarray(offset + PREFIX_BYTES, offset + NONCE_BYTES);
    sealGcm(key, nonce, plaintext, associatedData, target, offset + NONCE_BYTES);
  }

  sealWithNonce(
    nonce: Uint8Array,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    target: Buffer,
    offset: number,
  ): void {
    target.set(nonce, offset);
    const key = this.#derivation.keyForNonce(target, offset);
    const tail = target.subarray(offset + PREFIX_BYTES, offset + NONCE_BYTES);
    sealGcm(key, tail, plaintext, associatedData, target, offset + NONCE_BYTES);
  }

  open(source: Buffer, offset: number, associatedData: Uint8Array): Buffer {
    if (source.length - offset < NONCE_BYTES + AEAD_TAG_BYTES) throw new AeadError();
    const key = this.#derivation.keyForNonce(source, offset);
    const nonce = source.subarray(offset + PREFIX_BYTES, offset + NONCE_BYTES);
    return openGcm(key, nonce, source, offset + NONCE_BYTES, associatedData);
  }

  #nextMessageKey(): KeyObject {
    if (this.#messageKey === undefined || this.#messagesLeft === 0) {
      fillRandom(this.#prefix, 0, PREFIX_BYTES);
      this.#messageKey = this.#derivation.keyForNonce(this.#prefix, 0);
      this.#messagesLeft = this.#messagesPerPrefix;
    }
    this.#messagesLeft -= 1;
    return this.#messageKey;
  }
}
