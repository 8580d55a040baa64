import type { Measurement, Timing } from './measure';
import { median } from './median';

/**
 * How often as long a variant takes as another one. Where several processes measured both, it is the
 * middle of their ratios: a process that all of it is slow in makes both of its medians longer, and
 * neither ratio.
 */
export function ratioOf(variant: Timing, base: Timing): number {
  return median(ratiosOf(variant, base));
}

/** How far the ratios of the processes are from {@link ratioOf}, by the median of their distances. */
export function spreadOf(variant: Timing, base: Timing): number {
  const ratios = ratiosOf(variant, base);
  const middle = median(ratios);
  return median(ratios.map((ratio) => Math.abs(ratio - middle)));
}

/** Compares each with the first. */
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
