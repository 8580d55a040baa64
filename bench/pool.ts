import type { Measurement, Rounds, Timing } from './measure';
import { median, withRatios } from './ratio';
import type { Result, Sizes } from './scenario';

/** Processes that share a short measurement. */
export const SEVERAL = 3;

/**
 * Divides the rounds of a comparison among processes. If other programs share the machine's outer cache,
 * data that does not fit into a core's own takes up to six times as long, and which data that is depends
 * on where the pages of a process happen to lie: between two processes with the same code, the ratio of
 * two variants differed by a tenth and more, round after round. A single process is one sample of that,
 * however many rounds it runs.
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

/** Combines the results of processes into the medians of their medians and ratios. */
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

/** Takes figures beside the times from the first process. */
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
