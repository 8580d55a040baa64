import { ConfigurationError } from '../../errors';

import type { RemoteLimits } from './remote-calls';

/** Options of every remote provider. */
export interface RemoteOptions {
  /** Milliseconds for one call, 100 to 60 000. Defaults to 5 000. */
  readonly timeoutMs?: number;
  /** Milliseconds for an operation with its retries, up to 300 000. Defaults to 15 000. */
  readonly totalTimeoutMs?: number;
}

/** Names of {@link RemoteOptions}. */
export const REMOTE_OPTIONS = ['timeoutMs', 'totalTimeoutMs'] as const;

/** Checks of a provider's options. Messages name the option, never its value. */
export class OptionChecks {
  readonly #who: string;

  constructor(who: string) {
    this.#who = who;
  }

  require(holds: boolean, problem: string): asserts holds {
    if (!holds) throw new ConfigurationError(`${this.#who}: ${problem}.`);
  }

  /** @param prefix - path of the options, such as `auth.` */
  known(given: unknown, names: readonly string[], prefix = ''): void {
    this.require(
      typeof given === 'object' && given !== null,
      prefix === '' ? 'options are missing' : `${prefix.slice(0, -1)} must be an object`,
    );
    const unknown = Object.keys(given).filter((name) => !names.includes(name));
    this.require(
      unknown.length === 0,
      `there is no option ${unknown.map((name) => prefix + name).join(', ')}`,
    );
  }

  integer(name: string, value: unknown, min: number, max: number): number {
    this.require(
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max,
      `${name} must be a whole number from ${String(min)} to ${String(max)}`,
    );
    return value;
  }

  limits({ timeoutMs = 5_000, totalTimeoutMs = 15_000 }: RemoteOptions): RemoteLimits {
    const each = this.integer('timeoutMs', timeoutMs, 100, 60_000);
    const total = this.integer('totalTimeoutMs', totalTimeoutMs, 100, 300_000);
    this.require(each <= total, 'timeoutMs must not be above totalTimeoutMs');
    return { timeoutMs: each, totalTimeoutMs: total };
  }
}

export function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
