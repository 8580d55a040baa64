/**
 * Overwrites key bytes with zeros. Best effort: copies made by the runtime, a core dump or swap may
 * still hold them.
 */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
