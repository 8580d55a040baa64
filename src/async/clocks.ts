import { performance } from 'node:perf_hooks';

/** A smaller difference between the two clocks from one reading to the next means nothing. */
const NOTICED_MS = 100;

/**
 * Returns a clock of elapsed milliseconds: the monotonic one, plus the time by which the system's clock went
 * further, since the monotonic one stands still while a machine or a container is suspended. If the system's
 * clock is corrected forwards, keys look older than they are and are only confirmed again; a correction
 * backwards has no effect.
 */
export function elapsedClock(
  monotonic: () => number = () => performance.now(),
  system: () => number = () => Date.now(),
): () => number {
  let distance = system() - monotonic();
  let suspended = 0;
  return () => {
    const now = monotonic();
    const moved = system() - now - distance;
    if (Math.abs(moved) > NOTICED_MS) {
      distance += moved;
      suspended += Math.max(0, moved);
    }
    return now + suspended;
  };
}

const settled = Promise.resolve();

/**
 * Returns a clock that is read once for all that runs synchronously: a result of ten thousand rows asks for
 * the age of its keys ten thousand times. The process may be stopped in the middle of it, so the keys of a
 * statement are checked once more, by the clock itself, before it is sent.
 */
export function turnClock(read: () => number): () => number {
  let now: number | undefined;
  const forget = (): void => {
    now = undefined;
  };
  return () => {
    if (now === undefined) {
      now = read();
      void settled.then(forget);
    }
    return now;
  };
}
