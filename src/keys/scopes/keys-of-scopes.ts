import type { CurrentKeys } from '../cache/current-keys';
import type { KeyPreparation } from '../cache/key-preparation';
import type { KeyRing } from '../cache/key-ring';
import type { KeyServices } from '../key-services';

import { eraseScope } from './scope-erasure';
import type { Erasure, ErasureOptions, ScopeRows } from './scope-erasure';
import type { Scope } from '../record/scope';
import { ScopeBranches } from './scope-branches';
import { ScopeKeyRing } from './scope-key-ring';
import type { ScopeKeyStore, ScopeOptions } from './scope-key-store';
import { ScopeKeys } from './scope-keys';
import { ScopeMarks } from './scope-marks';
import { rotateScope } from './scope-rotation';

/** The keys of scopes of one key manager. */
export class KeysOfScopes<C> {
  readonly #services: KeyServices<C>;
  readonly store: ScopeKeyStore<C>;
  readonly branches: ScopeBranches<C>;
  /** For reading; serves the common keys, too. */
  readonly ring: ScopeKeyRing<C>;
  /** For writing and for tokens. */
  readonly active: ScopeKeys<C>;
  readonly marks: ScopeMarks<C>;

  constructor(
    services: KeyServices<C>,
    { store, kmsOf }: ScopeOptions<C>,
    common: {
      readonly current: CurrentKeys;
      readonly preparation: KeyPreparation<C>;
      readonly ring: KeyRing<C>;
    },
  ) {
    this.#services = services;
    this.store = store;
    const branches = new ScopeBranches(common, services.wrapper.providers, kmsOf);
    this.branches = branches;
    this.ring = new ScopeKeyRing(services, store, { common: common.ring, branches });
    this.active = new ScopeKeys({
      ...{ services, store, branches, ring: this.ring },
      used: () => common.current.used,
    });
    this.marks = new ScopeMarks(services, this);
  }

  /** See {@link rotateScope}. */
  rotate(scope: Scope): Promise<string> {
    return rotateScope(this.#services, this, scope);
  }

  /** See {@link eraseScope}. */
  erase(scope: Scope, options: ErasureOptions, rows: ScopeRows<C>): Promise<Erasure> {
    return eraseScope(this.#services, this, scope, options, rows);
  }

  clear(): void {
    this.ring.clear();
    this.active.clear();
  }
}
