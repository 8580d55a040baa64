/** Nothing in it needs quotes: base64url, numbers, uuids. */
const BARE = /^[\w-]+$/;

/**
 * An array as PostgreSQL reads it from text (section 8.15.2 of its manual): of text, bytes and NULL.
 * One parameter for a column is several times as fast as the driver's own encoding of arrays.
 */
export function arrayLiteral(values: readonly unknown[]): string {
  return `{${values.map(element).join(',')}}`;
}

function element(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString('hex')}"`;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return BARE.test(text) && !/^null$/i.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
}
