import { performance } from 'node:perf_hooks';

const settled = Promise.resolve();

/**
 * Milliseconds since the process began, read once for all that happens in one go: a result of ten
 * thousand rows asks for the age of its keys ten thousand times.
 */
export function turnClock(): () => number {
  let now: number | undefined;
  const forget = (): void => {
    now = undefined;
  };
  return () => {
    if (now === undefined) {
      now = performance.now();
      void settled.then(forget);
    }
    return now;
  };
}
