/** Tag length of every cipher suite in bytes. */
export const TAG_BYTES = 16;

/** A message `nonce ‖ ciphertext ‖ tag` with a view of each part, created on first use. */
export class SealedMessage {
  readonly nonce: Buffer;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #body: number;
  #ciphertext: Buffer | undefined;
  #tag: Buffer | undefined;
  #sealed: Buffer | undefined;
  #nonceAndPlaintext: Buffer | undefined;

  /**
   * Takes `bytes` from `offset` to the end.
   *
   * @throws RangeError if that is too short for a message
   */
  constructor(bytes: Buffer, offset: number, nonceBytes: number) {
    this.#start = offset;
    this.#body = offset + nonceBytes;
    if (bytes.length < this.#body + TAG_BYTES) {
      throw new RangeError('too short for a sealed message');
    }
    this.nonce = bytes.subarray(offset, this.#body);
    this.#bytes = bytes;
  }

  /** Holds the plaintext until it is sealed. */
  get ciphertext(): Buffer {
    return (this.#ciphertext ??= this.#bytes.subarray(this.#body, this.#bytes.length - TAG_BYTES));
  }

  get tag(): Buffer {
    return (this.#tag ??= this.#bytes.subarray(this.#bytes.length - TAG_BYTES));
  }

  /** `ciphertext ‖ tag` */
  get sealed(): Buffer {
    return (this.#sealed ??= this.#bytes.subarray(this.#body));
  }

  /** `nonce ‖ plaintext`, until the message is sealed. */
  get nonceAndPlaintext(): Buffer {
    return (this.#nonceAndPlaintext ??= this.#bytes.subarray(
      this.#start,
      this.#bytes.length - TAG_BYTES,
    ));
  }
}
