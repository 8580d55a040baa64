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
import type { CircuitBreakerPolicy } from 'cockatiel';

import { FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { isAuthenticated } from '../kms-provider';
import type { KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';

/** The time that a member may take, and how often it is probed while it is down. */
export interface MemberTimes {
  readonly switchAfterMs: number;
  readonly probeEveryMs: number;
}

/** A listener to members that go down or come back. */
export type MemberListener = (type: 'providerDown' | 'providerUp', label: string) => void;

/** A provider of the failover, behind a circuit breaker. */
export class Member {
  readonly label: string;
  readonly #kms: KmsProvider;
  readonly #times: MemberTimes;
  readonly #circuit: CircuitBreakerPolicy;
  #probe: NodeJS.Timeout | undefined;
  #isDown = false;
  /** The key that failed last, perhaps through its own fault; undefined once any key succeeded. */
  #suspect: string | undefined;
  #isProbing = false;

  constructor(label: string, kms: KmsProvider, times: MemberTimes, tell: MemberListener) {
    this.label = label;
    this.#kms = kms;
    this.#times = times;
    this.#circuit = circuitBreaker(handleWhen(isOutage), {
      // Less than the interval of probes, so that the circuit lets each of them through.
      halfOpenAfter: times.probeEveryMs / 2,
      breaker: new ConsecutiveBreaker(1),
    });
    this.#circuit.onStateChange((state) => {
      this.#follow(state, tell);
    });
  }

  /** Whether it was up when it was last asked. */
  get isUp(): boolean {
    return this.#circuit.state === CircuitState.Closed;
  }

  /**
   * Asks the provider, unless it is known to be down.
   *
   * @param keyId - the data key in question.
   * @throws {@link KmsUnavailableError} if it is down or too slow, and errors of the provider itself
   */
  async ask<T>(request: (kms: KmsProvider) => Promise<T>, keyId?: string): Promise<T> {
    try {
      const answer = await this.#circuit.execute(() => this.#attempt(request, keyId));
      if (keyId !== undefined) this.#suspect = undefined;
      return answer;
    } catch (error) {
      const failure = error instanceof OutageOfOneKey ? error.cause : error;
      if (failure instanceof FieldEncryptionError) throw failure;
      const isOpen = failure instanceof BrokenCircuitError;
      throw new KmsUnavailableError(
        `failoverKms: ${this.label} ${isOpen ? 'is down' : 'failed in an unforeseen way'}.`,
      );
    }
  }

  /** Asks the provider about its part of a wrapped key. */
  isAuthenticated(part: WrappedKey): boolean {
    return isAuthenticated(this.#kms, part);
  }

  /** Asks the provider for its health. Never throws. */
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

  /**
   * Counts an outage only when a second key or a probe fails, too: somebody who can write to the key table
   * can make a row that the provider fails on or is slow to unwrap. Providers have done their own retries.
   */
  async #attempt<T>(request: (kms: KmsProvider) => Promise<T>, keyId?: string): Promise<T> {
    try {
      return await this.#inTime(request);
    } catch (error) {
      if (!isOutage(error) || this.#isDown || keyId === undefined) throw error;
      const suspect = this.#suspect;
      this.#suspect = keyId;
      if (suspect !== undefined && suspect !== keyId) throw error;
      if (suspect === keyId) this.#probeNow();
      throw new OutageOfOneKey(error);
    }
  }

  /** Probes in the background, through the circuit, which a failure opens and a success closes. */
  #probeNow(): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    void this.ask(requireHealthy)
      .catch(() => undefined)
      .finally(() => {
        this.#isProbing = false;
      });
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
      this.#suspect = undefined;
      clearInterval(this.#probe);
      tell('providerUp', this.label);
    }
  }

  #startProbing(): void {
    clearInterval(this.#probe);
    this.#probe = setInterval(() => {
      this.#probeNow();
    }, this.#times.probeEveryMs);
    this.#probe.unref();
  }
}

/** An outage that the circuit does not count. */
class OutageOfOneKey extends Error {
  constructor(cause: unknown) {
    super('an outage of one key', { cause });
  }
}

/** Whether an error is a sign that the provider is down, and not of a wrong key or wrong settings. */
function isOutage(error: unknown): boolean {
  if (error instanceof OutageOfOneKey) return false;
  return !(error instanceof FieldEncryptionError) || error instanceof KmsUnavailableError;
}

async function requireHealthy(kms: KmsProvider): Promise<void> {
  const { ok } = await kms.health();
  if (!ok) throw new KmsUnavailableError('failoverKms: the provider is not well yet.');
}
