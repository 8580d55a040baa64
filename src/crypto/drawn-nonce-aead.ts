import type { SealedMessage } from '../encoding/sealed-message';

import { AEAD_TAG_BYTES } from './cipher-suite';
import type { CipherSuite, NonceChoosingAead } from './cipher-suite';
import type { NonceMode, Nonces } from './nonces';

/** A cipher suite that draws the whole nonce of each message. */
export abstract class DrawnNonceAead implements NonceChoosingAead {
  abstract readonly suite: CipherSuite;
  abstract readonly nonceBytes: number;
  readonly tagBytes = AEAD_TAG_BYTES;
  readonly #nonces: Nonces;

  constructor(nonces: Nonces) {
    this.#nonces = nonces;
  }

  get nonces(): NonceMode {
    return this.#nonces.mode;
  }

  seal(message: SealedMessage, associatedData: Uint8Array): void {
    this.#nonces.write(message, 0, associatedData);
    this.sealAfterNonce(message, associatedData);
  }

  sealWithNonce(nonce: Uint8Array, message: SealedMessage, associatedData: Uint8Array): void {
    message.nonce.set(nonce);
    this.sealAfterNonce(message, associatedData);
  }

  abstract open(message: SealedMessage, associatedData: Uint8Array): Buffer;

  /** Encrypts a message whose nonce is in its place. */
  protected abstract sealAfterNonce(message: SealedMessage, associatedData: Uint8Array): void;
}
