import { timingSafeEqual } from 'node:crypto';

/**
 * Compares two byte strings in a time that does not depend on their content. Lengths are not
 * secret; they are compared first because `timingSafeEqual` throws when they differ.
 */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
