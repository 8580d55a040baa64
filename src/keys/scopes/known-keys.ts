import type { ErasedError } from '../../errors';
import { RecentEntries } from '../cache/recent-entries';
import type { DataKey } from '../key-source';
import { scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';

/** A key in memory, and when its row was last read or its branch confirmed, on the manager's clock. */
export interface KnownKey {
  readonly key: DataKey;
  readonly confirmedAt: number;
}

/**
 * The data keys of scopes in memory, by the prefix of their ciphertexts, and the scopes that were found erased. That
 * is final: a transaction may see the table as it was before, and brings no key back.
 */
export class KnownKeys {
  readonly #byPrefix: RecentEntries<KnownKey>;
  readonly #erased: RecentEntries<ErasedError>;

  constructor(clock: () => number) {
    this.#byPrefix = new RecentEntries(clock);
    this.#erased = new RecentEntries(clock);
  }

  get size(): number {
    return this.#byPrefix.size;
  }

  get(prefix: string): KnownKey | undefined {
    return this.#byPrefix.get(prefix);
  }

  /** Keeps a key, unless its scope was found erased, or a later confirmation is known. */
  keep(key: DataKey, confirmedAt: number): void {
    if (key.scope !== undefined && this.#erased.get(scopeSlot(key.scope)) !== undefined) return;
    const known = this.#byPrefix.get(key.prefix);
    if (known !== undefined && known.confirmedAt > confirmedAt) return;
    this.#byPrefix.set(key.prefix, { key, confirmedAt });
  }

  delete(prefix: string): void {
    this.#byPrefix.delete(prefix);
  }

  dropConfirmedBy(time: number): void {
    this.#byPrefix.deleteIf(({ confirmedAt }) => confirmedAt <= time);
  }

  /** Notes that a scope is erased, and forgets its keys. */
  noteErased(scope: Scope, error: ErasedError): void {
    const slot = scopeSlot(scope);
    if (this.#erased.get(slot) !== undefined) return;
    this.#erased.set(slot, error);
    this.#byPrefix.deleteIf(({ key }) => key.scope !== undefined && scopeSlot(key.scope) === slot);
  }

  /** @throws {@link ErasedError} for a scope that was found erased */
  requireNotErased(scope: Scope): void {
    const error = this.#erased.get(scopeSlot(scope));
    if (error !== undefined) throw error;
  }

  /** Forgets the keys, and not what was erased. */
  drop(): void {
    this.#byPrefix.clear();
  }

  /** Forgets everything. */
  clear(): void {
    this.#byPrefix.clear();
    this.#erased.clear();
  }
}
