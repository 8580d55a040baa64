import type { ActiveKey } from '../cache/active-keys';
import type { CurrentKeys } from '../cache/current-keys';
import type { KeyPreparation } from '../cache/key-preparation';
import type { DataKey } from '../key-source';
import type { KmsProviders } from '../wrapping/kms-providers';

import type { KmsOfScope } from './scope-key-store';

import { BRANCH_NAME, ownBranchName, scopeSlot } from '../record/scope';
import type { Scope } from '../record/scope';

/** The branch keys: data keys that wrap the keys of scopes, so that the KMS is asked once for all of them. */
export class ScopeBranches<C> {
  readonly #current: CurrentKeys;
  readonly #preparation: KeyPreparation<C>;
  readonly #providers: KmsProviders;
  readonly #kmsOf: KmsOfScope | undefined;
  /** By scope, the names of the branches of those that were asked for. */
  readonly #own = new Map<string, string>();

  constructor(
    parts: { readonly current: CurrentKeys; readonly preparation: KeyPreparation<C> },
    providers: KmsProviders,
    kmsOf: KmsOfScope | undefined,
  ) {
    this.#current = parts.current;
    this.#preparation = parts.preparation;
    this.#providers = providers;
    this.#kmsOf = kmsOf;
  }

  /** Returns the name of the branch key of a scope. */
  nameOf(scope: Scope): string {
    if (this.#kmsOf === undefined) return BRANCH_NAME;
    const slot = scopeSlot(scope);
    const known = this.#own.get(slot);
    if (known !== undefined) return known;
    const kms = this.#kmsOf(scope);
    if (kms === this.#providers.primary.kms) return BRANCH_NAME;
    const name = ownBranchName(scope);
    this.#providers.reserve(name, kms);
    this.#own.set(slot, name);
    return name;
  }

  /**
   * Makes the branch keys of some scopes usable.
   *
   * @returns by name, why those that are missing cannot be used.
   */
  async prepare(scopes: readonly Scope[], connection?: C): Promise<ReadonlyMap<string, unknown>> {
    const failures = new Map<string, unknown>();
    for (const name of new Set(scopes.map((scope) => this.nameOf(scope)))) {
      try {
        await this.#preparation.prepare([name], { index: false }, connection);
      } catch (failure) {
        failures.set(name, failure);
      }
    }
    return failures;
  }

  /** Makes the branch key usable that most scopes have in common. */
  async prepareCommon(): Promise<void> {
    await this.#preparation.prepare([BRANCH_NAME], { index: false, insists: true });
  }

  /** Returns that key. */
  get common(): DataKey {
    return this.#current.dataKey(BRANCH_NAME);
  }

  /** Returns the newest branch key of a name, once it is usable. */
  async activeOf(name: string): Promise<DataKey> {
    await this.#preparation.prepare([name], { index: false, insists: true });
    return this.#current.dataKey(name);
  }

  /** Returns the branch key that new keys of a scope are sealed with. */
  activeFor(scope: Scope): DataKey {
    return this.#current.dataKey(this.nameOf(scope));
  }

  /** Returns that key with its age; undefined where it is not in memory. */
  standingFor(scope: Scope): ActiveKey<DataKey> | undefined {
    const held = this.#current.get({ purpose: 'data', name: this.nameOf(scope) });
    return held as ActiveKey<DataKey> | undefined;
  }
}
