import type { ErasedError } from '../../errors';
import type { ActiveKey } from '../cache/active-keys';

/** Bounded, since there may be a million scopes. */
const CAPACITY = 4096;

/** A scope for which nothing can be written. */
export interface ErasedScope {
  readonly error: ErasedError;
  /** Whether its keys are gone, or may still be kept. */
  readonly isFinal: boolean;
}

/** The active keys of scopes in memory, by scope. Those used longest ago make room for others. */
export class ScopeKeyCache<T> {
  readonly #bySlot = new Map<string, ActiveKey<T> | ErasedScope>();

  /** Milliseconds since the key was last confirmed; Infinity for one that has to be looked for. */
  age(slot: string, now: number): number {
    const held = this.#bySlot.get(slot);
    if (held === undefined) return Infinity;
    if ('error' in held) return held.isFinal ? 0 : Infinity;
    return held.mayVanish === true ? Infinity : now - held.confirmedAt;
  }

  /** Returns the key of a scope, or the reason why it has none. Counts as a use. */
  get(slot: string): ActiveKey<T> | ErasedScope | undefined {
    const held = this.#bySlot.get(slot);
    if (held !== undefined) this.#moveToEnd(slot, held);
    return held;
  }

  /** Keeps a key that was just confirmed. A scope that was found erased stays so, whatever the table says. */
  accept(slot: string, key: ActiveKey<T>): void {
    const held = this.#bySlot.get(slot);
    if (held !== undefined && 'error' in held && held.isFinal) return;
    if (held !== undefined && 'version' in held && key.version < held.version) return;
    this.#moveToEnd(slot, key);
  }

  /** Keeps the reason why nothing can be written for a scope. */
  withdraw(slot: string, reason: ErasedScope): void {
    this.#moveToEnd(slot, reason);
  }

  /** Drops the keys used longest ago, but none of those just accepted. */
  makeRoom(accepted: number): void {
    for (const oldest of this.#bySlot.keys()) {
      if (this.#bySlot.size <= Math.max(CAPACITY, accepted)) return;
      this.#bySlot.delete(oldest);
    }
  }

  clear(): void {
    this.#bySlot.clear();
  }

  #moveToEnd(slot: string, held: ActiveKey<T> | ErasedScope): void {
    this.#bySlot.delete(slot);
    this.#bySlot.set(slot, held);
  }
}
