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

/** Last characters whose spare bits are zero, by how many characters are over after groups of four. */
const CANONICAL_ENDS: readonly (string | undefined)[] = [undefined, '', 'AQgw', 'AEIMQUYcgkosw048'];

/**
 * Fills a buffer of {@link base64urlBytes} from canonical base64url without padding, or answers
 * `false`; the buffer then holds anything. So each byte string has exactly one text form.
 *
 * Node's own decoder is lenient, each way of which is looked at: it skips what it does not know and
 * stops at padding, which leaves fewer bytes than the length stands for; it takes the other alphabet;
 * it takes the low byte of what is not ASCII; it ignores the spare bits of the last character.
 */
export function decodeBase64urlInto(bytes: Buffer, text: string): boolean {
  return (
    bytes.write(text, 'base64url') === bytes.length &&
    hasCanonicalEnd(text) &&
    !text.includes('+') &&
    !text.includes('/') &&
    Buffer.byteLength(text, 'utf8') === text.length
  );
}

function hasCanonicalEnd(text: string): boolean {
  const ends = CANONICAL_ENDS[text.length % 4];
  return ends === undefined || ends.includes(text.charAt(text.length - 1));
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
