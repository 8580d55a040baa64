import { StillLoadingError } from './brief-wait';

interface FailedKey {
  readonly error: unknown;
  readonly at: number;
}

/** How long a key that could not be had is not asked for again, whatever the reason. */
const SETTLED_MS = 1000;
/** Prefixes come from rows, which anybody may have written: what is remembered of them is bounded. */
const MAX_REMEMBERED = 4096;

/** Remembers why keys could not be loaded, so that the synchronous side can say it. */
export class FailedKeys {
  readonly #byPrefix = new Map<string, FailedKey>();

  remember(prefix: string, error: unknown, now: number): void {
    this.#byPrefix.delete(prefix);
    this.#byPrefix.set(prefix, { error, at: now });
    for (const oldest of this.#byPrefix.keys()) {
      if (this.#byPrefix.size <= MAX_REMEMBERED) return;
      this.#byPrefix.delete(oldest);
    }
  }

  /** The last failure; undefined when there was none. */
  error(prefix: string): unknown {
    return this.#byPrefix.get(prefix)?.error;
  }

  /** Whether it failed a moment ago: asking again now would only give the same answer. */
  isSettled(prefix: string, now: number): boolean {
    const failed = this.#byPrefix.get(prefix);
    if (failed === undefined || failed.error instanceof StillLoadingError) return false;
    return now - failed.at < SETTLED_MS;
  }

  forget(prefix: string): void {
    this.#byPrefix.delete(prefix);
  }

  clear(): void {
    this.#byPrefix.clear();
  }
}
