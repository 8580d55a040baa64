import type { Measurement, Timing } from './measure';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/**
 * Returns how many times as long as another one a variant takes. If several processes measured both, it
 * is the median of their ratios: a process that is slow throughout lengthens both medians alike.
 */
export function ratioOf(variant: Timing, base: Timing): number {
  return median(ratiosOf(variant, base));
}

/** Returns the median distance of the ratios of the processes from {@link ratioOf}. */
export function spreadOf(variant: Timing, base: Timing): number {
  const ratios = ratiosOf(variant, base);
  const middle = median(ratios);
  return median(ratios.map((ratio) => Math.abs(ratio - middle)));
}

/** Compares each variant with the first. */
export function withRatios(timings: readonly Timing[]): Measurement[] {
  const [base] = timings;
  return base === undefined
    ? []
    : timings.map((timing) => ({ ...timing, ratio: ratioOf(timing, base) }));
}

function ratiosOf(variant: Timing, base: Timing): number[] {
  const bases = mediansOf(base);
  return mediansOf(variant).map((each, process) => each / (bases[process] ?? Number.NaN));
}

function mediansOf({ medianMs, processMediansMs }: Timing): readonly number[] {
  return processMediansMs ?? [medianMs];
}
