import { ConfigurationError } from '../errors';
import type { Actor } from '../audit/actor';

import { DEFAULT_WINDOW_MS } from './guard-options';
import type { GuardLimit } from './guard-options';

/** The most actors that are counted at a time. */
const CAPACITY = 10_000;
/** What a statement of an actor above the limit waits for, after those before it. */
const SLOW_MS = 1000;

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
  readonly #windows = new Map<string | undefined, Window>();

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
    // In the order of their beginnings, so that the oldest is forgotten.
    this.#windows.delete(actor?.id);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < CAPACITY) break;
      this.#windows.delete(oldest);
    }
    this.#windows.set(actor?.id, begun);
    return begun;
  }

  /** Returns for how many milliseconds a statement of the actor is to wait; 0 for none. */
  delayOf(actor: Actor | undefined, now: number): number {
    if (this.action !== 'slow') return 0;
    const window = this.#windows.get(actor?.id);
    if (window === undefined || now >= window.endsAt) return 0;
    if (window.values <= this.limitOf(actor)) return 0;
    window.goesOnAt = Math.max(now, window.goesOnAt) + SLOW_MS;
    return window.goesOnAt - now;
  }
}
