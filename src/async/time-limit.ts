/**
 * Waits for the result of some work, for a limited time. The work itself goes on.
 *
 * @throws the error of `tooLong` when the time is over, and what the work throws
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

/** How long a KMS or a database may take to answer a health check. */
export const ANSWER_MS = 15_000;

/** Rejects if an answer takes too long, so that a check for what hangs does not hang itself. */
export function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return waitBriefly(answer, ms, () => new NoAnswerError(ms));
}

/** The error of {@link within}. */
export class NoAnswerError extends Error {
  constructor(ms: number) {
    super(
      ms < 1000 ? `no answer within ${String(ms)} ms` : `no answer within ${String(ms / 1000)} s`,
    );
  }
}
