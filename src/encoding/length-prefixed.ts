const LENGTH_BYTES = 4;

/**
 * Joins parts into one byte string that no other list of parts gives:
 * `count(u32) ‖ (length(u32) ‖ bytes) …`, big-endian; strings as UTF-8.
 *
 * Everything that is authenticated or derived from goes through it, so `['ab', 'c']` and
 * `['a', 'bc']` can never mean the same.
 */
export function lengthPrefixed(parts: readonly (string | Uint8Array)[]): Uint8Array {
  const chunks = parts.map(toBytes);
  const total = chunks.reduce((sum, chunk) => sum + LENGTH_BYTES + chunk.length, LENGTH_BYTES);
  const joined = Buffer.allocUnsafeSlow(total);

  let offset = joined.writeUInt32BE(chunks.length, 0);
  for (const chunk of chunks) {
    offset = joined.writeUInt32BE(chunk.length, offset);
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}

function toBytes(part: string | Uint8Array): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
}
