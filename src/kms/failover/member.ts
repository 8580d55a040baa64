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
  /** The key that failed last, as a key alone can; undefined once another one went through. */
  #suspect: string | undefined;
  #isLookedAt = false;

  constructor(label: string, kms: KmsProvider, times: MemberTimes, tell: MemberListener) {
    this.label = label;
    this.#kms = kms;
    this.#times = times;
    this.#circuit = circuitBreaker(handleWhen(isOutage), {
      // A probe must always find the circuit ready for it.
      halfOpenAfter: times.probeEveryMs / 2,
      breaker: new ConsecutiveBreaker(1),
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
   * @param keyId - the data key that is asked about.
   * @throws {@link KmsUnavailableError} when it is down or too slow; what it throws itself
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

  /**
   * Who writes to the key table can make a row that the provider fails on, or takes too long for: an
   * outage of one key says nothing of the others until a second key or a probe fails, too. Each provider
   * has tried again by itself.
   */
  async #attempt<T>(request: (kms: KmsProvider) => Promise<T>, keyId?: string): Promise<T> {
    try {
      return await this.#inTime(request);
    } catch (error) {
      if (!isOutage(error) || this.#isDown || keyId === undefined) throw error;
      const suspect = this.#suspect;
      this.#suspect = keyId;
      if (suspect !== undefined && suspect !== keyId) throw error;
      if (suspect === keyId) this.#look();
      throw new OutageOfOneKey(error);
    }
  }

  /** Probes in the background, through the circuit: what fails opens it, and what is well closes it. */
  #look(): void {
    if (this.#isLookedAt) return;
    this.#isLookedAt = true;
    void this.ask(requireHealthy)
      .catch(() => undefined)
      .finally(() => {
        this.#isLookedAt = false;
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
      this.#look();
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

/** What is wrong with a key or with settings is no sign that the provider is down. */
function isOutage(error: unknown): boolean {
  if (error instanceof OutageOfOneKey) return false;
  return !(error instanceof FieldEncryptionError) || error instanceof KmsUnavailableError;
}

async function requireHealthy(kms: KmsProvider): Promise<void> {
  const { ok } = await kms.health();
  if (!ok) throw new KmsUnavailableError('failoverKms: the provider is not well yet.');
}
