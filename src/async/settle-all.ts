/**
 * Runs `work` for every item, `concurrency` of them at a time. A failure does not stop the others; the
 * first one is thrown when all are done.
 */
export async function settleAll<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const outcomes: Promise<void>[] = [];
  const queue = items.values();
  const drain = async (): Promise<void> => {
    for (const item of queue) {
      const outcome = work(item);
      outcomes.push(outcome);
      await outcome.catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, drain));
  await Promise.all(outcomes);
}
