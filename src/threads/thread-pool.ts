import { CryptoThread } from './crypto-thread';

/** The threads of a read or a run that are alive. None are started any more once one has failed. */
export class ThreadPool {
  readonly #application: string;
  #threads: CryptoThread[] = [];
  #failed = false;

  constructor(application: string) {
    this.#application = application;
  }

  get failed(): boolean {
    return this.#failed;
  }

  get threads(): readonly CryptoThread[] {
    return this.#threads;
  }

  /** A new thread, or `undefined` where there are none to be had. */
  start(): CryptoThread | undefined {
    const thread = CryptoThread.start(this.#application, (failed) => {
      this.#failed ||= failed;
      this.#threads = this.#threads.filter((each) => each !== thread);
    });
    if (thread === undefined) this.#failed = true;
    else this.#threads.push(thread);
    return thread;
  }

  async close(): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(threads.map((thread) => thread.close()));
  }
}

/** The thread that has the least to do. */
export function idlestOf(threads: readonly CryptoThread[]): CryptoThread | undefined {
  return threads.toSorted((a, b) => a.waiting - b.waiting)[0];
}
