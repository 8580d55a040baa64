import type { DataKey } from '../keys/data-key';
import type { Ciphertexts, CryptoThread } from './crypto-thread';
import { idlestOf, ThreadPool } from './thread-pool';

/**
 * Threads that move ciphertexts to the active key, while this one talks to the database. They only
 * make a run faster: what a thread cannot do, or a thread that fails, is left to the asker.
 */
export class RunThreads {
  readonly #pool: ThreadPool;
  readonly count: number;
  #notYet: number;

  /** @param after - values that are left to the asker before a thread is started. */
  constructor(count: number, after: number, application: string) {
    this.count = count;
    this.#notYet = after;
    this.#pool = new ThreadPool(application);
  }

  /** Tells how many values are to come, so that threads which will pay are started at once. */
  expect(values: number): void {
    this.#notYet -= values;
  }

  /** The new ciphertexts, in order; empty, or missing, for what is left to the asker. */
  move(ciphertexts: Ciphertexts, activeKey: DataKey): Promise<readonly string[]> {
    this.#notYet -= ciphertexts.stored.length;
    const thread = this.#notYet > 0 ? undefined : this.#next();
    return thread === undefined ? Promise.resolve([]) : thread.move(ciphertexts, activeKey);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  /** The thread with the least to do; a new one while there are too few. */
  #next(): CryptoThread | undefined {
    const { failed, threads } = this.#pool;
    if (failed || this.count === 0) return undefined;
    const idlest = idlestOf(threads);
    return idlest?.waiting === 0 || threads.length >= this.count ? idlest : this.#pool.start();
  }
}
