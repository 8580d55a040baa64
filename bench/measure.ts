import { performance } from 'node:perf_hooks';

/** One way of doing the work of a scenario. */
export interface Variant {
  readonly name: string;
  /** Does the work once; what it returns is thrown away. */
  run(): unknown;
  /** Brings the state back after a round, outside the measurement. */
  reset?(): Promise<void>;
}

/** What one variant took, in milliseconds a round. */
export interface Measurement {
  readonly variant: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Median over the median of the first variant of the same scenario. */
  readonly ratio: number;
}

/**
 * Runs the variants in turn, round after round, so that a machine that slows down slows all of them,
 * and compares medians. One round before the first is not counted.
 */
export async function measure(
  variants: readonly Variant[],
  rounds: number,
): Promise<Measurement[]> {
  const times = variants.map((): number[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, variant] of variants.entries()) {
      const start = performance.now();
      await variant.run();
      const elapsed = performance.now() - start;
      await variant.reset?.();
      if (round > 0) times[i]?.push(elapsed);
    }
  }
  const medians = times.map(median);
  return variants.map(({ name }, i) => ({
    variant: name,
    medianMs: medians[i] ?? 0,
    minMs: Math.min(...(times[i] ?? [])),
    maxMs: Math.max(...(times[i] ?? [])),
    ratio: (medians[i] ?? 0) / (medians[0] ?? 1),
  }));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
