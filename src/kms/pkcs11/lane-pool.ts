import { KmsUnavailableError } from '../../errors';
import type { Lane } from './lane';
import type { RequestOf, TokenAnswer, TokenAnswers, TokenRequest } from './protocol';

export interface LaneLimits {
  /** Lanes at most; each has a thread and a session of its own. */
  readonly lanes: number;
  /** Requests that may wait for a lane. */
  readonly waiting: number;
  /** Milliseconds for one request, its wait included. */
  readonly timeoutMs: number;
}

interface Job {
  readonly request: TokenRequest;
  readonly resolve: (answer: TokenAnswer) => void;
  readonly reject: (error: unknown) => void;
}

interface Running {
  readonly job: Job;
  readonly done: Promise<void>;
}

/** Hands requests to idle lanes, first come, first served; starts lanes as they are needed. */
export class LanePool {
  readonly #start: () => Lane;
  readonly #limits: LaneLimits;
  readonly #idle: Lane[] = [];
  readonly #running = new Map<Lane, Running>();
  /** Lanes whose request took too long. A thread inside the module cannot be interrupted. */
  readonly #stuck = new Set<Lane>();
  readonly #queue: Job[] = [];

  constructor(start: () => Lane, limits: LaneLimits) {
    this.#start = start;
    this.#limits = limits;
  }

  /** @throws {@link KmsUnavailableError} when the token does not answer in time, or too many wait for it */
  run<K extends TokenRequest['kind']>(request: RequestOf<K>): Promise<TokenAnswers[K]> {
    const { timeoutMs, waiting, lanes } = this.#limits;
    if (this.#stuck.size >= lanes) return Promise.reject(silent(timeoutMs));
    if (this.#queue.length >= waiting) return Promise.reject(crowded(waiting));
    return this.#enqueue(request) as Promise<TokenAnswers[K]>;
  }

  /** Lets what runs end, closes the sessions and ends the threads; a later request starts anew. */
  async close(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) {
      reject(new KmsUnavailableError('pkcs11Kms was closed before the token was asked.'));
    }
    // What is stuck is left to itself: it would hold up a shutdown for as long as the token is silent.
    const ending = [...this.#running].filter(([lane]) => !this.#stuck.has(lane));
    await Promise.all(ending.map(([, { done }]) => done));
    await Promise.all(this.#idle.splice(0).map(closeLane));
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
      const lane = this.#idle.pop() ?? this.#another();
      if (lane === undefined) return;
      const job = this.#queue.shift();
      if (job !== undefined) this.#perform(lane, job);
    }
  }

  #another(): Lane | undefined {
    return this.#running.size < this.#limits.lanes ? this.#start() : undefined;
  }

  #perform(lane: Lane, job: Job): void {
    const done = lane
      .run(job.request)
      .then(job.resolve, job.reject)
      .then(() => {
        this.#release(lane);
      });
    this.#running.set(lane, { job, done });
  }

  #release(lane: Lane): void {
    this.#running.delete(lane);
    this.#stuck.delete(lane);
    if (!lane.ended) this.#idle.push(lane);
    this.#dispatch();
  }

  #giveUp(job: Job): void {
    const index = this.#queue.indexOf(job);
    if (index >= 0) this.#queue.splice(index, 1);
    for (const [lane, running] of this.#running) {
      if (running.job === job) this.#stuck.add(lane);
    }
    job.reject(silent(this.#limits.timeoutMs));
  }
}

/** Closes the sessions and ends the thread, whatever the token says to it. */
async function closeLane(lane: Lane): Promise<void> {
  await lane.run({ kind: 'close' }).catch(() => undefined);
  await lane.stop();
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
