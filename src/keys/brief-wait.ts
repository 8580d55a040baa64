import { KmsUnavailableError } from '../errors';
import type { KeyRecord } from './key-record';

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

/** It says nothing of the KMS but that it takes its time: who holds no connection goes on waiting. */
export class StillLoadingError extends KmsUnavailableError {
  override readonly name = 'KmsUnavailableError';
}

/** For a caller whose connection others may be waiting for. */
export function notWhileHeld(
  keys: readonly Pick<KeyRecord, 'id' | 'name'>[],
  limitMs: number,
): StillLoadingError {
  const labels = keys.slice(0, 3).map(({ id, name }) => `${id} ("${name}")`);
  return new StillLoadingError(
    `${labels.length === 0 ? 'a key' : `key ${labels.join(', ')}`} is not in memory, and the KMS has not given it within ${String(limitMs)} ms ` +
      '(keyCache.transactionWaitMs), for which a transaction waits. It goes on loading: try again.',
  );
}
