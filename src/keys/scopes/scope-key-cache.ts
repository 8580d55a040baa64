import type { ErasedError } from '../../errors';
import type { ActiveKey } from '../cache/active-keys';
import { RecentEntries } from '../cache/recent-entries';

/** A scope for which nothing can be written. */
export interface ErasedScope {
  readonly error: ErasedError;
  /** Whether its keys are gone, or may still be kept. */
  readonly isFinal: boolean;
}

/** The active keys of scopes in memory, by scope. */
export class ScopeKeyCache<T> {
  readonly #bySlot: RecentEntries<ActiveKey<T> | ErasedScope>;

  constructor(clock: () => number) {
    this.#bySlot = new RecentEntries(clock);
  }

  /** Milliseconds since the key was last confirmed; Infinity for one that has to be looked for. */
  age(slot: string, now: number): number {
    const held = this.#bySlot.get(slot);
    if (held === undefined) return Infinity;
    if ('error' in held) return held.isFinal ? 0 : Infinity;
    return held.mayVanish === true ? Infinity : now - held.confirmedAt;
  }

  /** Returns the key of a scope, or the reason why it has none. */
  get(slot: string): ActiveKey<T> | ErasedScope | undefined {
    return this.#bySlot.get(slot);
  }

  /** Keeps a key that was just confirmed. A scope that was found erased stays so, whatever the table says. */
  accept(slot: string, key: ActiveKey<T>): void {
    const held = this.#bySlot.get(slot);
    if (held !== undefined && 'error' in held && held.isFinal) return;
    if (held !== undefined && 'version' in held && key.version < held.version) return;
    this.#bySlot.set(slot, key);
  }

  /** Keeps the reason why nothing can be written for a scope. */
  withdraw(slot: string, reason: ErasedScope): void {
    this.#bySlot.set(slot, reason);
  }

  clear(): void {
    this.#bySlot.clear();
  }
}
