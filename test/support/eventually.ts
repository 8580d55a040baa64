import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Does something again for as long as it fails with an error that says so, as an application should:
 * failures are remembered for a moment, and a busy machine may be slower than a key may be old.
 */
export async function eventually<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if ((error as { retryable?: boolean }).retryable !== true) throw error;
      await sleep(20);
    }
  }
}
