import type { KeyServices } from '../key-services';
import { isOwnBranchName } from '../record/scope';
import type { Scope } from '../record/scope';
import { scopeOf } from '../record/scope-key-record';

import type { ErasureReceipt } from './erasure/erasure-receipt';
import { replayErasures, replayStep } from './erasure/erasure-replay';
import type { ReplayReport, ReplayStep } from './erasure/erasure-replay';
import type { KeysOfScopes } from './keys-of-scopes';
import { eraseScope } from './erasure/scope-erasure';
import type { Erasure, ErasureOptions, ScopeRows } from './erasure/scope-erasure';
import { resealScopes } from './scope-resealing';
import type { ResealReport } from './scope-resealing';
import { rotateScope } from './scope-rotation';

/** The operators' side of the keys of scopes. `ScopeKeys` documents the operations for users. */
export class ScopeOperations<C> {
  readonly #services: KeyServices<C>;
  readonly #scopes: KeysOfScopes<C>;

  constructor(services: KeyServices<C>, scopes: KeysOfScopes<C>) {
    this.#services = services;
    this.#scopes = scopes;
  }

  /** See {@link rotateScope}. */
  rotate(scope: Scope): Promise<string> {
    return rotateScope(this.#services, this.#scopes, scope);
  }

  /** See {@link eraseScope}. */
  erase(scope: Scope, options: ErasureOptions, rows: ScopeRows<C>): Promise<Erasure> {
    return eraseScope(this.#services, this.#scopes, scope, { options, rows });
  }

  /** See {@link replayErasures}. */
  replay(receipts: readonly ErasureReceipt[], rows: ScopeRows<C>): Promise<ReplayReport> {
    return replayErasures(this.#services, this.#scopes, receipts, rows);
  }

  /** See {@link replayStep}. */
  replayStep(receipt: unknown): Promise<ReplayStep> {
    return replayStep(this.#services, this.#scopes, receipt);
  }

  /**
   * Asks for the KMS of each scope that has a branch of its own, by the table of scope keys. Whoever edits that
   * makes no other KMS be asked: the name of a branch tells its scope.
   */
  async nameOwnBranches(): Promise<void> {
    const { branches, store } = this.#scopes;
    for (const { id, name } of await this.#services.store.list()) {
      if (!isOwnBranchName(name)) continue;
      const sealed = await store.findUnderBranch(id);
      if (sealed !== undefined) branches.nameOf(scopeOf(sealed));
    }
  }

  /** See {@link resealScopes}. */
  reseal(): Promise<ResealReport> {
    return resealScopes(this.#services, this.#scopes);
  }
}
