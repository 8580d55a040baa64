import type { KeyObject } from 'node:crypto';

import type { SealedMessage } from '../encoding/sealed-message';

import type { NonceChoosingAead } from './cipher-suite';
import { AEAD_TAG_BYTES } from './cipher-suite';
import { openGcm, sealGcm } from './gcm';
import type { NonceMode, Nonces } from './nonces';
import { RANDOM_NONCES } from './nonces';
import { fillRandom } from './random';
import { XaesKeyDerivation } from './xaes-key-derivation';

const NONCE_BYTES = 24;
const PREFIX_BYTES = 12;
const IV_BYTES = NONCE_BYTES - PREFIX_BYTES;
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
  readonly #iv = Buffer.allocUnsafeSlow(IV_BYTES);
  readonly #nonces: Nonces;
  readonly #messagesPerPrefix: number;
  #messageKey: KeyObject | undefined;
  #messagesLeft = 0;

  /** `messagesPerPrefix` is lowered by tests only. */
  constructor(
    key: Uint8Array,
    nonces: Nonces = RANDOM_NONCES,
    messagesPerPrefix = MESSAGES_PER_PREFIX,
  ) {
    this.#derivation = new XaesKeyDerivation(key);
    this.#nonces = nonces;
    this.#messagesPerPrefix = messagesPerPrefix;
  }

  get nonces(): NonceMode {
    return this.#nonces.mode;
  }

  seal(message: SealedMessage, associatedData: Uint8Array): void {
    const key = this.#nextMessageKey();
    this.#prefix.copy(message.nonce);
    this.#nonces.write(message, PREFIX_BYTES, associatedData);
    sealGcm(key, this.#ivOf(message), message, associatedData);
  }

  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void {
    message.nonce.set(nonce);
    const key = this.#derivation.keyForNonce(message.nonce);
    sealGcm(key, this.#ivOf(message), message, associatedData);
  }

  open(message: SealedMessage, associatedData: Uint8Array): Buffer {
    const key = this.#derivation.keyForNonce(message.nonce);
    return openGcm(key, this.#ivOf(message), message, associatedData);
  }

  /** The nonce of GCM, in a buffer that the next call writes anew; OpenSSL copies it. */
  #ivOf({ nonce }: SealedMessage): Uint8Array {
    nonce.copy(this.#iv, 0, PREFIX_BYTES);
    return this.#iv;
  }

  #nextMessageKey(): KeyObject {
    if (this.#messageKey === undefined || this.#messagesLeft === 0) {
      fillRandom(this.#prefix, 0, PREFIX_BYTES);
      this.#messageKey = this.#derivation.keyForNonce(this.#prefix);
      this.#messagesLeft = this.#messagesPerPrefix;
    }
    this.#messagesLeft -= 1;
    return this.#messageKey;
  }
}
