/** Object ids of the types in PostgreSQL's catalogue, which are the same in every installation. */
const ELEMENT_OIDS = { text: 25, bytea: 17 } as const;

export type BinaryElement = keyof typeof ELEMENT_OIDS;

const HEADER_BYTES = 20;
const NULL_LENGTH = -1;

/**
 * A one-dimensional array as PostgreSQL sends and receives it (`array_send` in its source): flags,
 * type, length and lower bound, then each element after its length. Read at a fraction of the cost
 * of a literal, in which the server looks at every character for what it may mean.
 */
export function binaryArray(element: BinaryElement, values: readonly unknown[]): Buffer {
  const contents = values.map((value) => content(element, value));
  const lengths = contents.map((each) => (each === null ? NULL_LENGTH : Buffer.byteLength(each)));
  const bytes = lengths.reduce((sum, length) => sum + 4 + Math.max(0, length), HEADER_BYTES);
  const array = Buffer.allocUnsafe(bytes);
  const header = [1, contents.includes(null) ? 1 : 0, ELEMENT_OIDS[element], contents.length, 1];
  let at = 0;
  for (const field of header) at = array.writeInt32BE(field, at);
  for (const [i, each] of contents.entries()) {
    at = array.writeInt32BE(lengths[i] ?? NULL_LENGTH, at);
    if (each !== null)
      at += typeof each === 'string' ? array.write(each, at) : each.copy(array, at);
  }
  return array;
}

function content(element: BinaryElement, value: unknown): string | Buffer | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (!Buffer.isBuffer(value)) return JSON.stringify(value);
  return element === 'text' ? `\\x${value.toString('hex')}` : value;
}
