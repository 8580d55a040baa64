import type { Measurement, Rounds, Timing } from './measure';
import { median } from './median';
import { withRatios } from './ratio';
import type { Result, Sizes } from './scenario';

/** Processes that measure what is short. */
export const SEVERAL = 3;

/**
 * Shares the rounds of a comparison out among processes. Where a machine's outer cache is shared with
 * others, whatever does not fit into a core's own takes up to six times as long, and what that is
 * depends on where a process's pages have come to lie: between two processes that run the same code,
 * the ratio of two variants differed by a tenth and more, round after round. A single process is one
 * draw of that, however many rounds it does.
 */
export function shareOfRounds(sizes: Sizes, processes: number): Sizes {
  const share = ({ atLeast, seconds }: Rounds): Rounds => ({
    atLeast: Math.ceil(atLeast / processes),
    seconds: seconds / processes,
  });
  const { rounds, slowRounds, longRounds } = sizes;
  return {
    ...sizes,
    rounds: share(rounds),
    slowRounds: share(slowRounds),
    longRounds: share(longRounds),
  };
}

/** The results of processes that measured the same: of each variant the median of their medians and ratios. */
export function pooled(processes: readonly (readonly Result[])[]): Result[] {
  const [first = []] = processes;
  return first.map((result, i) => ({
    ...result,
    processes: processes.length,
    measurements: withRatios(
      result.measurements.map((_, variant) =>
        middle(processes.flatMap((results) => results[i]?.measurements[variant] ?? [])),
      ),
    ),
  }));
}

/** Figures beside the times are those of the first. */
function middle(same: readonly Measurement[]): Timing {
  const [first] = same;
  if (first === undefined) throw new RangeError('there is nothing to pool');
  const medians = same.map(({ medianMs }) => medianMs);
  return {
    ...first,
    medianMs: median(medians),
    processMediansMs: medians,
    minMs: Math.min(...same.map(({ minMs }) => minMs)),
    maxMs: Math.max(...same.map(({ maxMs }) => maxMs)),
    cpuMs: median(same.map(({ cpuMs }) => cpuMs)),
  };
}
