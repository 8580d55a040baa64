import { timingSafeEqual } from 'node:crypto';

/**
 * Overwrites key bytes with zeros. Best effort: the runtime, a core dump or swap may still hold copies.
 */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}

/**
 * Compares two byte strings in a time that does not depend on their content. Lengths are not secret, and
 * `timingSafeEqual` throws if they differ.
 */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
