import { KmsUnavailableError } from '../../errors';

import type { RequestOf, TokenAnswer, TokenAnswers, TokenRequest } from './protocol';
import type { SessionThread } from './session-thread';

export interface PoolLimits {
  /** Threads at most; each has a session of its own. */
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

/** Requests that a thread may have at once: it works on one, and the next is there when that is done. */
const AHEAD = 4;

interface Started {
  readonly thread: SessionThread;
  /** What the thread works on or has before it, and when that is done. */
  readonly jobs: Map<Job, Promise<void>>;
  /** A request took too long. A thread inside the module cannot be interrupted. */
  stuck: boolean;
}

/** Hands requests to idle threads, first come, first served; starts threads as they are needed. */
export class SessionPool {
  readonly #start: () => SessionThread;
  readonly #limits: PoolLimits;
  readonly #queue: Job[] = [];
  #threads: Started[] = [];

  constructor(start: () => SessionThread, limits: PoolLimits) {
    this.#start = start;
    this.#limits = limits;
  }

  /** @throws {@link KmsUnavailableError} when the token does not answer in time, or too many wait for it */
  run<K extends TokenRequest['kind']>(request: RequestOf<K>): Promise<TokenAnswers[K]> {
    const { timeoutMs, waiting, threads } = this.#limits;
    const stuck = this.#threads.filter((each) => each.stuck).length;
    if (stuck >= threads) return Promise.reject(silent(timeoutMs));
    if (this.#queue.length >= waiting) return Promise.reject(crowded(waiting));
    return this.#enqueue(request) as Promise<TokenAnswers[K]>;
  }

  /** Lets what runs end, closes the sessions and ends the threads; a later request starts anew. */
  async close(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) {
      reject(new KmsUnavailableError('pkcs11Kms was closed before the token was asked.'));
    }
    // What is stuck is left to itself: it would hold up a shutdown for as long as the token is silent.
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

  /** An idle thread, else a new one, else the one with the least to do. */
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

/** Closes the sessions and ends the thread, whatever the token says to it. */
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
