/** Encodes bytes as base64url without padding (RFC 4648 section 5). */
export function encodeBase64url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

/**
 * Decodes canonical base64url without padding, or answers `undefined`.
 *
 * See {@link decodeBase64urlInto}.
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(base64urlBytes(text));
  return decodeBase64urlInto(bytes, text) ? bytes : undefined;
}

/** How many bytes a text of this length stands for. */
export function base64urlBytes({ length }: string): number {
  return Math.floor((length * 3) / 4);
}

/**
 * Fills a buffer of {@link base64urlBytes} from canonical base64url without padding, or answers
 * `false`; the buffer then holds anything.
 *
 * Node's own decoder skips what it does not know, takes the other alphabet and ignores stray bits
 * in the last character. Encoding again is the one comparison that leaves each byte string exactly
 * one text form.
 */
export function decodeBase64urlInto(bytes: Buffer, text: string): boolean {
  bytes.write(text, 'base64url');
  return bytes.toString('base64url') === text;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
