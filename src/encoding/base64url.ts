/** Encodes bytes as base64url without padding (RFC 4648 section 5). */
export function encodeBase64url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

/** Last characters whose spare bits are zero, by the number of characters after the last group of four. */
const CANONICAL_ENDS: readonly (string | undefined)[] = [undefined, '', 'AQgw', 'AEIMQUYcgkosw048'];

/**
 * Decodes canonical base64url without padding; returns `undefined` for anything else, so that each byte
 * string has exactly one text form.
 *
 * Node's own decoder is lenient in ways that are checked one by one: it skips unknown characters and stops
 * at padding, which leaves fewer bytes than the length stands for; it accepts the other alphabet; it takes
 * the low byte of characters that are not ASCII; it ignores the spare bits of the last character.
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  const isCanonical =
    bytes.length === Math.floor((text.length * 3) / 4) &&
    hasCanonicalEnd(text) &&
    !text.includes('+') &&
    !text.includes('/') &&
    Buffer.byteLength(text, 'utf8') === text.length;
  return isCanonical ? bytes : undefined;
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

/** Decodes padded base64 (RFC 4648 section 4) in its canonical form; `undefined` for anything else. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** {@link decodeBase64} for the URL-safe alphabet (section 5), padded. */
export function decodePaddedBase64url(text: string): Buffer | undefined {
  if (/[+/]/.test(text)) return undefined;
  return decodeBase64(text.replace(/-/g, '+').replace(/_/g, '/'));
}
