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

/** Hands requests to idle lanes, first come, first served; starts lanes as they are needed. */
export class LanePool {
  readonly #start: () => Lane;
  readonly #limits: LaneLimits;
  readonly #idle: Lane[] = [];
  readonly #busy = new Map<Lane, Promise<void>>();
  /** Busy for longer than a request may take. Their threads cannot be interrupted. */
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
    await Promise.all([...this.#busy].filter(([lane]) => !this.#stuck.has(lane)).map(([, work]) => work));
    await Promise.all(this.#idle.splice(0).map(closeLane));
  }

  #enqueue(request: TokenRequest): Promise<TokenAnswer> {
    return new Promise<TokenAnswer>((resolve, reject) => {
      const { timeoutMs } = this.#limits;
      const timer = setTimeout(() => {
        this.#giveUp(job);
        reject(silent(timeoutMs));
      }, timeoutMs);
      const job: Job = {
        request,
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error instanceof Error ? error : new Error('unknown failure'));
        },
      };
      this.#queue.push(job);
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const lane = this.#idle.pop() ?? this.#another();
      if (lane === undefined) return;
      const job = this.#queue.shift();
      if (job !== undefined) this.#busy.set(lane, this.#perform(lane, job));
    }
  }

  #another(): Lane | undefined {
    return this.#busy.size < this.#limits.lanes ? this.#start() : undefined;
  }
}
