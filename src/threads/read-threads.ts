import { availableParallelism } from 'node:os';
import type { CryptoThread } from './crypto-thread';
import { idlestOf, ThreadPool } from './thread-pool';

/** More are of little use: the asker has to hand over and take back every value. */
const MOST_BY_DEFAULT = 2;
/** Keeps a thread busy while the asker is at values of its own. */
const REQUESTS_AHEAD = 2;
/** A thread without work ends, and the keys that it was sent are gone with it. */
const IDLE_MS = 30_000;

/** Threads that help this one to decrypt results of very many values. They are started when first of use. */
export class ReadThreads {
  readonly #count: number;
  readonly #pool: ThreadPool;
  #idle: NodeJS.Timeout | undefined;

  /** @param count - how many; by default one less than there are cores, and no more than two. */
  constructor(count: number | undefined, application: string) {
    this.#count = count ?? Math.min(MOST_BY_DEFAULT, availableParallelism() - 1);
    this.#pool = new ThreadPool(application);
  }

  /** Whether there are any to be had. */
  get enabled(): boolean {
    return this.#count > 0 && !this.#pool.failed;
  }

  /** Starts those that are missing, which takes a moment: until then there is no free one. */
  start(): void {
    this.#restartIdleTime();
    while (this.enabled && this.#pool.threads.length < this.#count) this.#pool.start();
  }

  /** Hands what they have answered meanwhile to its callers, without waiting for any. */
  receive(): void {
    for (const thread of this.#pool.threads) thread.receive();
  }

  /** One that can take more work now. */
  free(): CryptoThread | undefined {
    const { threads } = this.#pool;
    return idlestOf(threads.filter(({ ready, waiting }) => ready && waiting < REQUESTS_AHEAD));
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    await this.#pool.close();
  }

  #restartIdleTime(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      const busy = this.#pool.threads.some(({ waiting }) => waiting > 0);
      if (busy) this.#restartIdleTime();
      else void this.close();
    }, IDLE_MS).unref();
  }
}
