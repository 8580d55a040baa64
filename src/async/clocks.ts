import { performance } from 'node:perf_hooks';

/** What the two clocks may differ by from one reading to the next without meaning anything. */
const NOTICED_MS = 100;

/**
 * Milliseconds that have passed in the world: by the monotonic clock, and by the system's where that
 * went further, for the monotonic one stands still while a machine or a container is suspended. A
 * correction of the system's clock forwards makes keys older than they are, which only has them
 * confirmed again; one backwards does nothing.
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
 * A clock that is read once for all that happens in one go: a result of ten thousand rows asks for the
 * age of its keys ten thousand times. A process may be stopped in the middle of it, so that what it has
 * made is checked once more, by the clock itself, before it is sent.
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
