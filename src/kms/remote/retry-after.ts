/**
 * Reads a `Retry-After` header (RFC 9110 section 10.2.3), seconds or a date, as milliseconds from
 * now; 0 for one that says nothing.
 */
export function retryAfterMs(header: string | undefined, now = Date.now()): number {
  if (header === undefined) return 0;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
