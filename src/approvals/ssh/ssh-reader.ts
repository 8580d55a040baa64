/** Reads the fields of an SSH message (RFC 4251, section 5) within its bounds. Throws a RangeError beyond them. */
export class SshReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Reads a number of bytes. */
  bytes(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('it ends too early');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE();
  }

  string(): Buffer {
    return this.bytes(this.uint32());
  }

  text(): string {
    return this.string().toString('latin1');
  }

  /** Reads a positive number in its one form: without needless zeros. */
  positive(): Buffer {
    const bytes = this.string();
    const [first = 0x80, second = 0x80] = bytes;
    if (first >= 0x80 || (first === 0 && second < 0x80))
      throw new RangeError('a number is malformed');
    return first === 0 ? bytes.subarray(1) : bytes;
  }

  /** Requires that nothing follows. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw new RangeError('something follows its end');
  }
}

/** Returns bytes as an SSH string, with their length before them. */
export function sshString(bytes: Uint8Array | string): Buffer {
  const content = Buffer.from(bytes);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  return Buffer.concat([length, content]);
}
