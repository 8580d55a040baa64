/** Decodes padded base64 (RFC 4648 section 4) in its one canonical form, or answers `undefined`. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** {@link decodeBase64} for the alphabet that is safe in URLs (section 5), but padded. */
export function decodePaddedBase64url(text: string): Buffer | undefined {
  if (/[+/]/.test(text)) return undefined;
  return decodeBase64(text.replace(/-/g, '+').replace(/_/g, '/'));
}
