import type { CurrentKeys } from '../cache/current-keys';
import type { KeyPreparation } from '../cache/key-preparation';
import type { KeyRing } from '../cache/key-ring';
import type { KeyServices } from '../key-services';

import { proveReceipt } from './erasure/erasure-receipt';
import type { ErasureReceipt } from './erasure/erasure-receipt';
import { ScopeBranches } from './scope-branches';
import { ScopeKeyRing } from './scope-key-ring';
import type { ScopeKeyStore, ScopeOptions } from './scope-key-store';
import { ScopeKeys } from './scope-keys';
import { ScopeMarks } from './erasure/scope-marks';

/** The keys of scopes of one key manager. */
export class KeysOfScopes<C> {
  readonly store: ScopeKeyStore<C>;
  readonly branches: ScopeBranches<C>;
  /** For reading; serves the common keys, too. */
  readonly ring: ScopeKeyRing<C>;
  /** For writing and for tokens. */
  readonly active: ScopeKeys<C>;
  readonly marks: ScopeMarks<C>;
  readonly #common: KeyRing<C>;

  constructor(
    services: KeyServices<C>,
    { store, kmsOf }: ScopeOptions<C>,
    common: {
      readonly current: CurrentKeys;
      readonly preparation: KeyPreparation<C>;
      readonly ring: KeyRing<C>;
    },
  ) {
    this.store = store;
    this.#common = common.ring;
    const branches = new ScopeBranches(common, services.wrapper.providers, kmsOf);
    this.branches = branches;
    this.ring = new ScopeKeyRing(services, store, { common: common.ring, branches });
    this.active = new ScopeKeys({
      ...{ services, store, branches, ring: this.ring },
      used: () => common.current.used,
    });
    this.marks = new ScopeMarks(services, {
      ...{ store, branches, ring: this.ring },
      clear: () => {
        this.clear();
      },
    });
  }

  /** See {@link proveReceipt}. */
  proveReceipt(receipt: ErasureReceipt): Promise<void> {
    return proveReceipt(this.#common, receipt);
  }

  /** Forgets the keys, and not which scopes were erased. */
  clear(): void {
    this.ring.clear();
    this.active.clear();
  }

  /** Forgets everything. */
  close(): void {
    this.clear();
    this.ring.known.clear();
  }
}
