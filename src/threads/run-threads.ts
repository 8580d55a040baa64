import type { DataKey } from '../keys/data-key';
import type { Ciphertexts } from './crypto-thread';
import { idlestOf, ThreadPool } from './thread-pool';

/**
 * Threads that move ciphertexts to the active key, while this one talks to the database. They only
 * make a run faster: what a thread cannot do, what comes while none has loaded its code yet, and
 * all that a thread fails with, is left to the asker.
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
    this.#startWherePaying();
  }

  /** The new ciphertexts, in order; empty, or missing, for what is left to the asker. */
  move(ciphertexts: Ciphertexts, activeKey: DataKey): Promise<readonly string[]> {
    this.expect(ciphertexts.stored.length);
    const thread = idlestOf(this.#pool.threads.filter(({ ready }) => ready));
    return thread === undefined ? Promise.resolve([]) : thread.move(ciphertexts, activeKey);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  #startWherePaying(): void {
    if (this.#notYet > 0) return;
    while (!this.#pool.failed && this.#pool.threads.length < this.count) this.#pool.start();
  }
}
