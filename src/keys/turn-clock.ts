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
