const LENGTH_BYTES = 4;

/**
 * Joins parts into a byte string that is unique to them:
 * `count(u32) ‖ (length(u32) ‖ bytes) …`, big-endian; strings as UTF-8.
 *
 * Every input of a MAC or a derivation goes through it, so that `['ab', 'c']` and `['a', 'bc']` never give
 * the same bytes.
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

/**
 * Returns how {@link lengthPrefixed} begins for these parts and one more: what follows is the length of that
 * (u32) and its bytes.
 */
export function lengthPrefixedBefore(parts: readonly (string | Uint8Array)[]): Uint8Array {
  return lengthPrefixed([...parts, '']).subarray(0, -LENGTH_BYTES);
}

/** Returns the parts of a {@link lengthPrefixed} byte string, as views; undefined for anything else. */
export function readLengthPrefixed(joined: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(joined.buffer, joined.byteOffset, joined.byteLength);
  if (joined.length < LENGTH_BYTES) return undefined;
  const parts: Uint8Array[] = [];
  let offset = LENGTH_BYTES;
  for (let left = view.getUint32(0); left > 0; left -= 1) {
    if (offset + LENGTH_BYTES > joined.length) return undefined;
    const end = offset + LENGTH_BYTES + view.getUint32(offset);
    if (end > joined.length) return undefined;
    parts.push(joined.subarray(offset + LENGTH_BYTES, end));
    offset = end;
  }
  return offset === joined.length ? parts : undefined;
}

function toBytes(part: string | Uint8Array): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
}
