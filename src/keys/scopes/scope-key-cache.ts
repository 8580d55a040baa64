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

/** Milliseconds in which a statement that has asked for keys is made with them. */
const IN_USE_MS = 5_000;

interface Entry<T> {
  readonly held: ActiveKey<T> | ErasedScope;
  readonly usedAt: number;
}

/** The active keys of scopes in memory, by scope. Those used longest ago make room for others. */
export class ScopeKeyCache<T> {
  readonly #bySlot = new Map<string, Entry<T>>();
  readonly #clock: () => number;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#bySlot.size;
  }

  /** Milliseconds since the key was last confirmed; Infinity for one that has to be looked for. */
  age(slot: string, now: number): number {
    const held = this.#bySlot.get(slot)?.held;
    if (held === undefined) return Infinity;
    if ('error' in held) return held.isFinal ? 0 : Infinity;
    return held.mayVanish === true ? Infinity : now - held.confirmedAt;
  }

  /** Returns the key of a scope, or the reason why it has none. Counts as a use. */
  get(slot: string): ActiveKey<T> | ErasedScope | undefined {
    const held = this.#bySlot.get(slot)?.held;
    if (held !== undefined) this.#use(slot, held);
    return held;
  }

  /** Keeps a key that was just confirmed. A scope that was found erased stays so, whatever the table says. */
  accept(slot: string, key: ActiveKey<T>): void {
    const held = this.#bySlot.get(slot)?.held;
    if (held !== undefined && 'error' in held && held.isFinal) return;
    if (held !== undefined && 'version' in held && key.version < held.version) return;
    this.#use(slot, key);
  }

  /** Keeps the reason why nothing can be written for a scope. */
  withdraw(slot: string, reason: ErasedScope): void {
    this.#use(slot, reason);
  }

  /** Drops the keys used longest ago, but none that a statement may be about to be made with. */
  makeRoom(): void {
    const now = this.#clock();
    for (const [oldest, { usedAt }] of this.#bySlot) {
      if (this.#bySlot.size <= CAPACITY || now - usedAt < IN_USE_MS) return;
      this.#bySlot.delete(oldest);
    }
  }

  clear(): void {
    this.#bySlot.clear();
  }

  #use(slot: string, held: ActiveKey<T> | ErasedScope): void {
    this.#bySlot.delete(slot);
    this.#bySlot.set(slot, { held, usedAt: this.#clock() });
  }
}
