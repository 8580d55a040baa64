/** Returns part of a primary key as text. */
export function keyText(key: unknown): string {
  if (key instanceof Date) return key.toISOString();
  if (Buffer.isBuffer(key)) return key.toString('hex');
  return typeof key === 'object' && key !== null ? JSON.stringify(key) : String(key);
}
