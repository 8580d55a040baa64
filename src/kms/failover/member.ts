import type { CircuitBreakerPolicy } from 'cockatiel';
import {
  BrokenCircuitError,
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  handleWhen,
  TaskCancelledError,
  timeout,
  TimeoutStrategy,
} from 'cockatiel';

import { FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { isAuthenticated } from '../kms-provider';
import type { KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';

/** A provider that failed so often in a row is not asked any more. Each has tried again by itself. */
const FAILURES_TO_OPEN = 2;

/** How long a member may take, and how often it is probed while it is down. */
export interface MemberTimes {
  readonly switchAfterMs: number;
  readonly probeEveryMs: number;
}

/** Told of a member that goes down or comes back. */
export type MemberListener = (type: 'providerDown' | 'providerUp', label: string) => void;

/** One of the providers, behind a circuit breaker. */
export class Member {
  readonly label: string;
  readonly #kms: KmsProvider;
  readonly #times: MemberTimes;
  readonly #circuit: CircuitBreakerPolicy;
  #probe: NodeJS.Timeout | undefined;
  #isDown = false;

  constructor(label: string, kms: KmsProvider, times: MemberTimes, tell: MemberListener) {
    this.label = label;
    this.#kms = kms;
    this.#times = times;
    this.#circuit = circuitBreaker(handleWhen(isOutage), {
      // A probe must always find the circuit ready for it.
      halfOpenAfter: times.probeEveryMs / 2,
      breaker: new ConsecutiveBreaker(FAILURES_TO_OPEN),
    });
    this.#circuit.onStateChange((state) => {
      this.#follow(state, tell);
    });
  }

  /** Whether it was well when it was last asked. */
  get isUp(): boolean {
    return this.#circuit.state === CircuitState.Closed;
  }

  /**
   * Asks the provider, unless it is known to be down.
   *
   * @throws {@link KmsUnavailableError} when it is down or too slow; what it throws itself
   */
  async ask<T>(request: (kms: KmsProvider) => Promise<T>): Promise<T> {
    try {
      return await this.#circuit.execute(() => this.#inTime(request));
    } catch (error) {
      if (error instanceof FieldEncryptionError) throw error;
      const isOpen = error instanceof BrokenCircuitError;
      throw new KmsUnavailableError(
        `failoverKms: ${this.label} ${isOpen ? 'is down' : 'failed in an unforeseen way'}.`,
      );
    }
  }

  /** What the provider says of its part of a wrapped key. */
  isAuthenticated(part: WrappedKey): boolean {
    return isAuthenticated(this.#kms, part);
  }

  /** What the provider says of itself. Never throws. */
  async health(): Promise<KmsHealth> {
    try {
      return await this.#inTime((kms) => kms.health());
    } catch (error) {
      return {
        ok: false,
        detail: error instanceof FieldEncryptionError ? error.message : 'no answer',
      };
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#probe);
    this.#probe = undefined;
    await this.#kms.close?.();
  }

  async #inTime<T>(request: (kms: KmsProvider) => Promise<T>): Promise<T> {
    const { switchAfterMs } = this.#times;
    try {
      return await timeout(switchAfterMs, TimeoutStrategy.Aggressive).execute(() =>
        request(this.#kms),
      );
    } catch (error) {
      if (!(error instanceof TaskCancelledError)) throw error;
      throw new KmsUnavailableError(
        `failoverKms: ${this.label} did not answer within ${String(switchAfterMs)} ms.`,
      );
    }
  }

  #follow(state: CircuitState, tell: MemberListener): void {
    if (state === CircuitState.Open && !this.#isDown) {
      this.#isDown = true;
      this.#startProbing();
      tell('providerDown', this.label);
    }
    if (state === CircuitState.Closed && this.#isDown) {
      this.#isDown = false;
      clearInterval(this.#probe);
      tell('providerUp', this.label);
    }
  }

  #startProbing(): void {
    clearInterval(this.#probe);
    this.#probe = setInterval(() => {
      // Through the circuit: a probe that succeeds closes it.
      this.ask(requireHealthy).catch(() => undefined);
    }, this.#times.probeEveryMs);
    this.#probe.unref();
  }
}

/** What is wrong with a key or with settings is no sign that the provider is down. */
function isOutage(error: Error): boolean {
  return !(error instanceof FieldEncryptionError) || error instanceof KmsUnavailableError;
}

async function requireHealthy(kms: KmsProvider): Promise<void> {
  const { ok } = await kms.health();
  if (!ok) throw new KmsUnavailableError('failoverKms: the provider is not well yet.');
}
