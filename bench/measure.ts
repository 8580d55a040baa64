import { performance } from 'node:perf_hooks';
import { median } from './median';
import { withRatios } from './ratio';

/** Named figures beside the times, such as a percentile in milliseconds. */
export type Figures = Readonly<Record<string, number>>;

/** One way of doing the work of a scenario. */
export interface Variant {
  readonly name: string;
  /** Items that one run() works through. Defaults to what {@link Work} says. */
  readonly items?: number;
  /** Does the work once; what it returns is thrown away. */
  run(): unknown;
  /** Makes the state that run() wants, before each, outside the measurement. */
  prepare?(): Promise<unknown>;
  /** Asked for once, after the last round. */
  figures?(): Figures;
}

/** How often the variants of a comparison take turns. */
export interface Rounds {
  readonly atLeast: number;
  /** More of them, until so much time is over: what is short would else be of one moment of the machine. */
  readonly seconds: number;
}

/** What the variants of a comparison have in common. */
export interface Work {
  readonly rounds: Rounds;
  /** Items in one run; times are divided by it. */
  readonly items: number;
}

/** What one variant took, in milliseconds an item. */
export interface Timing {
  readonly variant: string;
  readonly medianMs: number;
  /** The medians of the processes that shared the rounds, where it was more than one. */
  readonly processMediansMs?: readonly number[];
  readonly minMs: number;
  readonly maxMs: number;
  /** Median of the processor time of this process, which says more than a clock on a busy machine. */
  readonly cpuMs: number;
  readonly figures: Figures;
}

/** The same, compared. */
export interface Measurement extends Timing {
  /** To the first variant of the same comparison. */
  readonly ratio: number;
}

/**
 * Runs the variants in turn, round after round, so that a machine that slows down slows all of them,
 * and compares medians. Each round begins with another one and every other one goes backwards, so
 * that none always pays for what the same other one left behind. One round before the first is not
 * counted.
 *
 * Short-lived garbage is collected before each, where the process runs with `--expose-gc`. Not all of
 * it: a full collection has V8 throw away the code it has compiled, and what is measured then is
 * compiling, three to five times as long as the work itself.
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

/** The one of a variant. */
export function measurementOf(
  measurements: readonly Measurement[],
  name: string,
): Measurement | undefined {
  return measurements.find(({ variant }) => variant === name);
}

/** Median, 95th and 99th percentile of latencies in milliseconds. */
export function percentiles(times: readonly number[]): Figures {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { 'p50 ms': at(0.5), 'p95 ms': at(0.95), 'p99 ms': at(0.99) };
}

/** The variants with their numbers, in the order of a round. */
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
