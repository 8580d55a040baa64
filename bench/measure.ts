import { performance } from 'node:perf_hooks';

import { median, withRatios } from './ratio';

/** Named figures beside the times, such as a percentile in milliseconds. */
export type Figures = Readonly<Record<string, number>>;

/** One way of doing the work of a scenario. */
export interface Variant {
  readonly name: string;
  /** Items in one run(). Defaults to those of {@link Work}. */
  readonly items?: number;
  /** Does the work once. The result is ignored. */
  run(): unknown;
  /** Prepares the state for run(), before each, without being measured. */
  prepare?(): Promise<unknown>;
  /** Called once, after the last round. */
  figures?(): Figures;
}

/** How often the variants of a comparison take turns. */
export interface Rounds {
  readonly atLeast: number;
  /** Rounds go on for at least so long: short ones would otherwise measure one moment of the machine. */
  readonly seconds: number;
}

/** The common settings of the variants of a comparison. */
export interface Work {
  readonly rounds: Rounds;
  /** Items in one run; times are divided by it. */
  readonly items: number;
}

/** The time of a variant, in milliseconds an item. */
export interface Timing {
  readonly variant: string;
  readonly medianMs: number;
  /** The medians of the processes that shared the rounds, if there were several. */
  readonly processMediansMs?: readonly number[];
  readonly minMs: number;
  readonly maxMs: number;
  /** Median of the processor time of this process, which says more than a clock on a busy machine. */
  readonly cpuMs: number;
  readonly figures: Figures;
}

/** A time, compared with that of the first variant. */
export interface Measurement extends Timing {
  /** Ratio to the first variant of the comparison. */
  readonly ratio: number;
}

/**
 * Runs the variants in turn, round after round, so that a machine that slows down slows all of them,
 * and compares medians. Each round begins with another variant, and every other round goes backwards, so
 * that none always pays for what the same other one leaves behind. A warm-up round is not counted.
 *
 * With `--expose-gc`, short-lived garbage is collected before each. Not all of it: after a full
 * collection V8 throws away compiled code, and the measurement would be of compiling, three to five
 * times as long as the work itself.
 */
export async function measure(
  variants: readonly Variant[],
  { rounds, items }: Work,
): Promise<Measurement[]> {
  const samples = variants.map((): Sample[] => []);
  const end = performance.now() + rounds.seconds * 1000;
  for (let round = 0; round <= rounds.atLeast || performance.now() < end; round++) {
    for (const [i, variant] of turnsOf(round, variants)) {
      const sample = await runOnce(variant, variant.items ?? items);
      if (round > 0) samples[i]?.push(sample);
    }
  }
  return withRatios(variants.map((variant, i) => summary(variant, samples[i] ?? [])));
}

/** Finds the measurement of a variant. */
export function measurementOf(
  measurements: readonly Measurement[],
  name: string,
): Measurement | undefined {
  return measurements.find(({ variant }) => variant === name);
}

/** Returns the median, 95th and 99th percentile of latencies in milliseconds. */
export function percentiles(times: readonly number[]): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { 'p50 ms': at(0.5), 'p95 ms': at(0.95), 'p99 ms': at(0.99) };
}

/** Returns the variants with their numbers, in the order of a round. */
function turnsOf(round: number, variants: readonly Variant[]): [number, Variant][] {
  const first = round % variants.length;
  const inOrder = [...variants.entries()];
  const turns = [...inOrder.slice(first), ...inOrder.slice(0, first)];
  return round % 2 === 0 ? turns : turns.reverse();
}

/** Milliseconds an item, in one round. */
interface Sample {
  readonly elapsed: number;
  readonly cpu: number;
}

async function runOnce(variant: Variant, items: number): Promise<Sample> {
  await variant.prepare?.();
  globalThis.gc?.({ type: 'minor' });
  const start = performance.now();
  const cpuBefore = process.cpuUsage();
  await variant.run();
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    elapsed: (performance.now() - start) / items,
    cpu: (user + system) / 1000 / items,
  };
}

function summary({ name, figures }: Variant, samples: readonly Sample[]): Timing {
  const times = samples.map(({ elapsed }) => elapsed);
  return {
    variant: name,
    medianMs: median(times),
    minMs: Math.min(...times),
    maxMs: Math.max(...times),
    cpuMs: median(samples.map(({ cpu }) => cpu)),
    figures: figures?.() ?? {},
  };
}
