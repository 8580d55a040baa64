import { availableParallelism } from 'node:os';
import { CryptoThread } from './crypto-thread';

/** More are of little use: the asker has to hand over and take back every value. */
const MOST_BY_DEFAULT = 2;
/** Keeps a thread busy while the asker is at values of its own. */
const REQUESTS_AHEAD = 2;
/** A thread without work ends, and the keys that it was sent are gone with it. */
const IDLE_MS = 30_000;

/** Threads that help this one to decrypt results of very many values. They are started when first of use. */
export class ReadThreads {
  readonly #count: number;
  readonly #application: string;
  #threads: CryptoThread[] = [];
  #failed = false;
  #idle: NodeJS.Timeout | undefined;

  /** @param count - how many; by default one less than there are cores, and no more than two. */
  constructor(count: number | undefined, application: string) {
    this.#count = count ?? Math.min(MOST_BY_DEFAULT, availableParallelism() - 1);
    this.#application = application;
  }

  /** Whether there are any to be had. */
  get enabled(): boolean {
    return this.#count > 0 && !this.#failed;
  }

  /** Starts those that are missing, which takes a moment: until then there is no free one. */
  start(): void {
    this.#restartIdleTime();
    while (this.enabled && this.#threads.length < this.#count) this.#startOne();
  }

  /** One that can take more work now. */
  free(): CryptoThread | undefined {
    const free = this.#threads.filter(({ ready, waiting }) => ready && waiting < REQUESTS_AHEAD);
    return free.sort((a, b) => a.waiting - b.waiting)[0];
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(threads.map((thread) => thread.close()));
  }

  #startOne(): void {
    const thread = CryptoThread.start(this.#application, (failed) => {
      this.#failed ||= failed;
      this.#threads = this.#threads.filter((each) => each !== thread);
    });
    if (thread === undefined) this.#failed = true;
    else this.#threads.push(thread);
  }

  #restartIdleTime(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      const busy = this.#threads.some(({ waiting }) => waiting > 0);
      if (busy) this.#restartIdleTime();
      else void this.close();
    }, IDLE_MS).unref();
  }
}
