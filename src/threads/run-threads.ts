import type { DataKey } from '../keys/data-key';
import { CryptoThread } from './crypto-thread';
import type { Ciphertexts } from './crypto-thread';

/**
 * Threads that move ciphertexts to the active key, while this one talks to the database. They only
 * make a run faster: what a thread cannot do, or a thread that fails, is left to the asker.
 */
export class RunThreads {
  readonly #application: string;
  readonly count: number;
  #notYet: number;
  #threads: CryptoThread[] = [];
  #failed = false;

  /** @param after - values that are left to the asker before a thread is started. */
  constructor(count: number, after: number, application: string) {
    this.count = count;
    this.#notYet = after;
    this.#application = application;
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
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(threads.map((thread) => thread.close()));
  }

  /** The thread with the least to do; a new one while there are too few. */
  #next(): CryptoThread | undefined {
    if (this.#failed || this.count === 0) return undefined;
    const [idlest] = this.#threads.sort((a, b) => a.waiting - b.waiting);
    if (idlest?.waiting === 0 || this.#threads.length >= this.count) return idlest;
    return this.#start();
  }

  #start(): CryptoThread | undefined {
    const thread = CryptoThread.start(this.#application, (failed) => {
      this.#failed ||= failed;
      this.#threads = this.#threads.filter((each) => each !== thread);
    });
    if (thread === undefined) this.#failed = true;
    else this.#threads.push(thread);
    return thread;
  }
}
