/**
 * The result of some work that is not there for longer than this; the work itself goes on.
 *
 * @throws what `tooLong` makes when the time is over, and what the work throws
 */
export async function waitBriefly<T>(
  work: Promise<T>,
  waitMs: number,
  tooLong: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(tooLong());
    }, waitMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long a KMS or a database may take that is asked how it is, before it is asked anew. */
export const ANSWER_MS = 15_000;

/** Rejects where an answer takes too long, so that nothing hangs that looks for what hangs. */
export function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return waitBriefly(answer, ms, () => new NoAnswerError(ms));
}

/** {@link within} has waited in vain. */
export class NoAnswerError extends Error {
  constructor(ms: number) {
    super(
      ms < 1000 ? `no answer within ${String(ms)} ms` : `no answer within ${String(ms / 1000)} s`,
    );
  }
}
