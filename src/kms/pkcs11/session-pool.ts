import { KmsUnavailableError } from '../../errors';

import type { RequestOf, TokenAnswer, TokenAnswers, TokenRequest } from './protocol';
import type { SessionThread } from './session-thread';

export interface PoolLimits {
  /** The most threads; each has a session of its own. */
  readonly threads: number;
  /** Requests that may wait for a thread. */
  readonly waiting: number;
  /** Milliseconds for one request, its wait included. */
  readonly timeoutMs: number;
}

interface Job {
  readonly request: TokenRequest;
  readonly resolve: (answer: TokenAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** The most requests that a thread has at once: one that it works on, and others that wait. */
const AHEAD = 4;

interface Started {
  readonly thread: SessionThread;
  /** The jobs that the thread has, each with its end. */
  readonly jobs: Map<Job, Promise<void>>;
  /** A request took too long. A thread inside the module cannot be interrupted. */
  stuck: boolean;
}

/** A pool of threads, started as needed, which serve requests in order. */
export class SessionPool {
  readonly #start: () => SessionThread;
  readonly #limits: PoolLimits;
  readonly #queue: Job[] = [];
  #threads: Started[] = [];

  constructor(start: () => SessionThread, limits: PoolLimits) {
    this.#start = start;
    this.#limits = limits;
  }

  /** @throws {@link KmsUnavailableError} if the token does not answer in time, or too many requests wait */
  run<K extends TokenRequest['kind']>(request: RequestOf<K>): Promise<TokenAnswers[K]> {
    const { timeoutMs, waiting, threads } = this.#limits;
    const stuck = this.#threads.filter((each) => each.stuck).length;
    if (stuck >= threads) return Promise.reject(silent(timeoutMs));
    if (this.#queue.length >= waiting) return Promise.reject(crowded(waiting));
    return this.#enqueue(request) as Promise<TokenAnswers[K]>;
  }

  /** Waits for requests under way, closes the sessions and ends the threads; a later request starts new ones. */
  async close(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) {
      reject(new KmsUnavailableError('pkcs11Kms was closed before the token was asked.'));
    }
    // Stuck threads are left alone: they would hold up a shutdown for as long as the token is silent.
    const ending = this.#threads.filter(({ stuck }) => !stuck);
    this.#threads = this.#threads.filter(({ stuck }) => stuck);
    await Promise.all(ending.flatMap(({ jobs }) => [...jobs.values()]));
    await Promise.all(ending.map(({ thread }) => closeThread(thread)));
  }

  #enqueue(request: TokenRequest): Promise<TokenAnswer> {
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise<TokenAnswer>((resolve, reject) => {
      const job: Job = { request, resolve, reject };
      timer = setTimeout(() => {
        this.#giveUp(job);
      }, this.#limits.timeoutMs);
      this.#queue.push(job);
      this.#dispatch();
    });
    return answer.finally(() => {
      clearTimeout(timer);
    });
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const started = this.#next();
      if (started === undefined) return;
      const job = this.#queue.shift();
      if (job !== undefined) this.#perform(started, job);
    }
  }

  /** Picks an idle thread, or else a new one, or else the one with the fewest jobs. */
  #next(): Started | undefined {
    const [least] = this.#threads
      .filter(({ stuck, jobs }) => !stuck && jobs.size < AHEAD)
      .sort((a, b) => a.jobs.size - b.jobs.size);
    if (least?.jobs.size === 0 || this.#threads.length >= this.#limits.threads) return least;
    const started: Started = { thread: this.#start(), jobs: new Map(), stuck: false };
    this.#threads.push(started);
    return started;
  }

  #perform(started: Started, job: Job): void {
    const done = started.thread
      .run(job.request)
      .then(job.resolve, job.reject)
      .then(() => {
        this.#release(started, job);
      });
    started.jobs.set(job, done);
  }

  #release(started: Started, job: Job): void {
    started.jobs.delete(job);
    started.stuck = false;
    if (started.thread.ended) this.#threads = this.#threads.filter((each) => each !== started);
    this.#dispatch();
  }

  #giveUp(job: Job): void {
    const index = this.#queue.indexOf(job);
    if (index >= 0) this.#queue.splice(index, 1);
    for (const started of this.#threads) {
      if (started.jobs.has(job)) started.stuck = true;
    }
    job.reject(silent(this.#limits.timeoutMs));
  }
}

/** Closes the sessions and ends the thread, even if the token fails. */
async function closeThread(thread: SessionThread): Promise<void> {
  await thread.run({ kind: 'close' }).catch(() => undefined);
  await thread.stop();
}

function silent(timeoutMs: number): KmsUnavailableError {
  return new KmsUnavailableError(
    `pkcs11Kms: the token did not answer within ${String(timeoutMs)} ms. Is the HSM reachable?`,
  );
}

function crowded(waiting: number): KmsUnavailableError {
  return new KmsUnavailableError(
    `pkcs11Kms: ${String(waiting)} requests wait for the token already. Try again.`,
  );
}
