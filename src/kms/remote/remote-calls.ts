import {
  DelegateBackoff,
  ExponentialBackoff,
  fullJitterGenerator,
  handleWhen,
  retry,
  TaskCancelledError,
  timeout,
  TimeoutStrategy,
} from 'cockatiel';
import type { IBackoff, IRetryBackoffContext } from 'cockatiel';

import { KmsUnavailableError } from '../../errors';

import { TransientFailure } from './failures';
import { withEvidence, evidenceOf } from './health';

/** How long a remote KMS may take. */
export interface RemoteLimits {
  /** Milliseconds for one try. */
  readonly timeoutMs: number;
  /** Milliseconds for all tries of an operation, with the waits between them. */
  readonly totalTimeoutMs: number;
}

/** The time that an operation has left. */
export interface Budget {
  /** On the monotonic clock, in milliseconds. */
  readonly endsAt: number;
  readonly signal: AbortSignal;
}

const TRIES = 3;
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 20_000;

/** Random waits below 200 ms, 400 ms, …: processes that failed together must not retry together. */
const jitter = new ExponentialBackoff({
  generator: fullJitterGenerator,
  initialDelay: FIRST_WAIT_MS,
  maxDelay: LONGEST_WAIT_MS,
});

/** Calls to a remote KMS, with deadlines, and retries if they can help. */
export class RemoteCalls {
  readonly #who: string;
  readonly #limits: RemoteLimits;

  /** @param who - begins every message, such as `vaultKms` */
  constructor(who: string, limits: RemoteLimits) {
    this.#who = who;
    this.#limits = limits;
  }

  /** Runs an operation of one call. @throws {@link KmsUnavailableError} when tries or time run out */
  run<T>(attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.within((budget) => this.retrying(budget, attempt));
  }

  /**
   * Runs an operation of any number of calls within the total time.
   *
   * @throws {@link KmsUnavailableError} when tries or time run out; what `operation` throws otherwise
   */
  async within<T>(operation: (budget: Budget) => Promise<T>): Promise<T> {
    const { totalTimeoutMs } = this.#limits;
    const endsAt = performance.now() + totalTimeoutMs;
    try {
      return await timeout(totalTimeoutMs, TimeoutStrategy.Aggressive).execute(({ signal }) =>
        operation({ endsAt, signal }),
      );
    } catch (error) {
      if (error instanceof TransientFailure) throw this.#unavailable(error);
      if (error instanceof TaskCancelledError) throw this.#unavailable(noAnswer(totalTimeoutMs));
      throw error;
    }
  }

  /** Retries a call until it succeeds, fails for good, or runs out of tries or time. */
  retrying<T>(budget: Budget, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const policy = retry(
      handleWhen((error) => error instanceof TransientFailure && isInTime(error, budget)),
      { maxAttempts: TRIES - 1, backoff: new DelegateBackoff(nextWait) },
    );
    return policy.execute(({ signal }) => this.#once(signal, attempt), budget.signal);
  }

  async #once<T>(parent: AbortSignal, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { timeoutMs } = this.#limits;
    const policy = timeout(timeoutMs, TimeoutStrategy.Aggressive);
    try {
      return await policy.execute(({ signal }) => attempt(signal), parent);
    } catch (error) {
      throw error instanceof TaskCancelledError ? noAnswer(timeoutMs) : error;
    }
  }

  #unavailable(failure: TransientFailure): KmsUnavailableError {
    const error = new KmsUnavailableError(`${this.#who}: ${failure.message}`);
    return withEvidence(error, evidenceOf(failure));
  }
}

function isInTime({ retryAfterMs }: TransientFailure, { endsAt }: Budget): boolean {
  return performance.now() + retryAfterMs < endsAt;
}

function nextWait(
  { result }: IRetryBackoffContext<unknown>,
  previous?: IBackoff<unknown>,
): { delay: number; state: IBackoff<unknown> } {
  const state = previous?.next(undefined) ?? jitter.next();
  const asked =
    'error' in result && result.error instanceof TransientFailure ? result.error : undefined;
  // Jitter on top of the time that the server asked for, which is the same for all clients.
  return { delay: (asked?.retryAfterMs ?? 0) + state.duration, state };
}

function noAnswer(ms: number): TransientFailure {
  const failure = new TransientFailure(`no answer within ${String(ms)} ms`);
  return withEvidence(failure, { reachable: false });
}
