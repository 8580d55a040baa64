import { types } from 'node:util';

import { ConfigurationError } from '../errors';
import type { Actor } from '../audit/actor';

import { DEFAULT_WINDOW_MS } from './guard-options';
import type { GuardLimit } from './guard-options';

/** The most actors that are counted at a time. */
const CAPACITY = 10_000;

/** What one actor has done since a time. */
interface Window {
  readonly endsAt: number;
  values: number;
  /** When the last of the statements that were slowed down goes on. */
  goesOnAt: number;
}

/** Values that actors use, counted in windows that begin with an actor's first one. */
export class ActorLimit {
  readonly #limit: GuardLimit;
  #windows = new Map<string | undefined, Window>();

  constructor(limit: GuardLimit) {
    this.#limit = limit;
  }

  get action(): NonNullable<GuardLimit['action']> {
    return this.#limit.action ?? 'warn';
  }

  /** @throws {@link ConfigurationError} where the application's function returns no number */
  limitOf(actor: Actor | undefined): number {
    const { values } = this.#limit;
    const limit: unknown = typeof values === 'function' ? values(actor) : values;
    if (typeof limit === 'number' && limit >= 0) return limit;
    // A promise that rejects later would end the process.
    if (types.isPromise(limit)) limit.catch(() => undefined);
    throw new ConfigurationError(
      'The `values` of a limit of `guard` must return a number from 0 for every actor.',
    );
  }

  /** Returns the window of an actor, which begins now if there is none. */
  windowOf(actor: Actor | undefined, now: number): Window {
    const known = this.#windows.get(actor?.id);
    if (known !== undefined && now < known.endsAt) return known;
    const endsAt = now + (this.#limit.windowMs ?? DEFAULT_WINDOW_MS);
    const begun = { endsAt, values: 0, goesOnAt: now };
    if (this.#windows.size >= CAPACITY) this.#makeRoom(now);
    this.#windows.set(actor?.id, begun);
    return begun;
  }

  /** Returns the window of an actor who is above a limit that slows down. */
  slowWindowOf(actor: Actor | undefined, now: number): Window | undefined {
    if (this.action !== 'slow') return undefined;
    const window = this.#windows.get(actor?.id);
    if (window === undefined || now >= window.endsAt) return undefined;
    return window.values > this.limitOf(actor) ? window : undefined;
  }

  /** Forgets those who did least, so that nobody begins anew because of many others. */
  #makeRoom(now: number): void {
    const windows = [...this.#windows].filter(([, { endsAt }]) => now < endsAt);
    windows.sort(([, a], [, b]) => b.values - a.values);
    this.#windows = new Map(windows.slice(0, CAPACITY / 2));
  }
}
