import { SealedMessage } from '../encoding/sealed-message';
import { HEADER_BYTES } from './data-key-id';

/** The bytes of one stored ciphertext, `header ‖ nonce ‖ ciphertext ‖ tag`, and their message. */
export class CiphertextFrame {
  readonly bytes: Buffer;
  #message: SealedMessage | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /**
   * What follows the header, for a suite with nonces of this length.
   *
   * @throws RangeError when it is too short to be a message
   */
  message(nonceBytes: number): SealedMessage {
    if (this.#message?.nonce.length !== nonceBytes) {
      this.#message = new SealedMessage(this.bytes, HEADER_BYTES, nonceBytes);
    }
    return this.#message;
  }
}

/** Longer ciphertexts get a buffer of their own: the cipher takes so long that it does not show. */
const SCRATCH_BYTES = 1024;

const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
const frames: (CiphertextFrame | undefined)[] = Array.from({ length: SCRATCH_BYTES + 1 });
const plainScratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
const plainRooms: (Buffer | undefined)[] = Array.from({ length: SCRATCH_BYTES + 1 });

/**
 * A frame for a ciphertext that is on its way from or to text, and void at the next call: short
 * ones share one memory, so that neither buffers nor views are made for each value.
 */
export function scratchFrame(bytes: number): CiphertextFrame {
  if (bytes > SCRATCH_BYTES) return new CiphertextFrame(Buffer.allocUnsafe(bytes));
  return (frames[bytes] ??= new CiphertextFrame(scratch.subarray(0, bytes)));
}

/** Room for a plaintext that is decoded at once, in the same way; `undefined` for a long one. */
export function scratchPlaintext(bytes: number): Buffer | undefined {
  if (bytes > SCRATCH_BYTES) return undefined;
  return (plainRooms[bytes] ??= plainScratch.subarray(0, bytes));
}
