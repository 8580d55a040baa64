/** Name of the file that shows that the log contains that of an earlier note. */
export const CONSISTENCY_FILE = 'consistency.txt';

/** Writes the proof from one size to another: a line with both, and one for each hash, in base64. */
export function writeConsistency(from: number, to: number, proof: readonly string[]): string {
  return [`${String(from)} ${String(to)}`, ...proof].map((line) => `${line}\n`).join('');
}

/** Reads the proof of a file; undefined if it has none between these sizes. */
export function readConsistency(
  content: string | Uint8Array | undefined,
  from: number,
  to: number,
): string[] | undefined {
  const [sizes, ...proof] = Buffer.from(content ?? '')
    .toString()
    .trimEnd()
    .split('\n');
  return sizes === `${String(from)} ${String(to)}` ? proof : undefined;
}
