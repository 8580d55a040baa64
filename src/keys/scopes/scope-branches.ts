import { settleAll } from '../../async/settle-all';
import { ConfigurationError } from '../../errors';
import type { ActiveKey } from '../cache/active-keys';
import type { CurrentKeys } from '../cache/current-keys';
import type { KeyPreparation } from '../cache/key-preparation';
import type { DataKey } from '../key-source';
import { CONCURRENT_UNWRAPS } from '../wrapping/kms-client';
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

  /**
   * Returns the name of the branch key of a scope, by the KMS that the application says it has now.
   *
   * @throws {@link ConfigurationError} if it says none
   */
  nameOf(scope: Scope): string {
    if (this.#kmsOf === undefined) return BRANCH_NAME;
    const kms = this.#kmsOf(scope);
    if (this.#providers.isCommon(kms)) return BRANCH_NAME;
    const name = ownBranchName(scope);
    this.#providers.reserve(name, kms);
    return name;
  }

  /** {@link ScopeBranches.nameOf}, or undefined where it throws. */
  nameIfKnown(scope: Scope): string | undefined {
    try {
      return this.nameOf(scope);
    } catch (error) {
      if (error instanceof ConfigurationError) return undefined;
      throw error;
    }
  }

  /**
   * Makes the branch keys of some scopes usable.
   *
   * @returns by `scopeSlot`, why those of some scopes cannot be used.
   */
  async prepare(scopes: readonly Scope[], connection?: C): Promise<ReadonlyMap<string, unknown>> {
    const failures = new Map<string, unknown>();
    const byName = new Map<string, Scope[]>();
    for (const scope of scopes) {
      try {
        const name = this.nameOf(scope);
        byName.set(name, [...(byName.get(name) ?? []), scope]);
      } catch (failure) {
        failures.set(scopeSlot(scope), failure);
      }
    }
    // A KMS that does not answer holds up no other, unless they share the caller's connection.
    const concurrency = connection === undefined ? CONCURRENT_UNWRAPS : 1;
    const prepare = async ([name, ofName]: [string, Scope[]]): Promise<void> => {
      try {
        await this.#preparation.prepare([name], { index: false }, connection);
      } catch (failure) {
        for (const scope of ofName) failures.set(scopeSlot(scope), failure);
      }
    };
    await settleAll([...byName], concurrency, prepare);
    // Meanwhile, others may have grown too old.
    const ready = [...byName].filter(([, ofName]) =>
      ofName.every((scope) => !failures.has(scopeSlot(scope))),
    );
    await settleAll(ready, concurrency, prepare);
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
