import { FieldEncryptionError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { RewrapFailure } from '../lifecycle/key-rewrap';
import type {
  MaintenanceFailure,
  MaintenanceReport,
  ScopeRotation,
} from '../lifecycle/maintenance-report';
import type { KeyRecord } from '../record/key-record';
import { BRANCH_NAME, isOwnBranchName } from '../record/scope';
import type { Scope } from '../record/scope';
import { scopeOf } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { pagesOf } from '../store/pages-of';

import type { ErasureReceipt } from './erasure/erasure-receipt';
import { replayErasures, replayStep } from './erasure/erasure-replay';
import type { ReplayReport, ReplayStep, ReplayTrust } from './erasure/erasure-replay';
import type { KeysOfScopes } from './keys-of-scopes';
import { eraseScope } from './erasure/scope-erasure';
import type { Erasure, ErasureOptions, ScopeRows } from './erasure/scope-erasure';
import { resealScopes } from './scope-resealing';
import type { ResealReport } from './scope-resealing';
import { maintainScopes } from './scope-maintenance';
import {
  dueRotation,
  rotatablePages,
  rotateScope,
  rotateScopes,
  ROTATED_PAGE,
} from './scope-rotation';

const DAY_MS = 86_400_000;

/** The operators' side of the keys of scopes. `ScopeKeys` documents the operations for users. */
export class ScopeOperations<C> {
  readonly #services: KeyServices<C>;
  readonly #scopes: KeysOfScopes<C>;

  constructor(services: KeyServices<C>, scopes: KeysOfScopes<C>) {
    this.#services = services;
    this.#scopes = scopes;
  }

  /** Milliseconds until a process that runs has noticed at the latest that nothing is to be written for a scope. */
  get maxAgeMs(): number {
    return this.#services.policy.maxAgeMs;
  }

  /** See {@link rotateScope}. */
  rotate(scope: Scope): Promise<string> {
    return rotateScope({ services: this.#services, scopes: this.#scopes }, scope);
  }

  /**
   * See {@link rotateScopes}.
   *
   * @param which - the scopes, or all of a kind.
   * @param how - `olderThanDays` leaves younger keys alone, by the clock of the policies.
   */
  async rotateAll(
    kind: string,
    which: readonly Scope[] | 'all',
    { olderThanDays, dryRun }: { readonly olderThanDays: number; readonly dryRun: boolean },
  ): Promise<ScopeRotation> {
    const [services, scopes] = [this.#services, this.#scopes];
    const before = new Date((await services.policyTime()).getTime() - olderThanDays * DAY_MS);
    const age = olderThanDays === 0 ? undefined : { before, now: await services.store.now() };
    if (dryRun) return dueRotation(scopes, { kind, age }, which);
    const pages =
      which === 'all' ? rotatablePages(scopes, { kind, age }) : pagesOf(which, ROTATED_PAGE);
    return rotateScopes({ services, scopes, before: age?.before }, kind, pages);
  }

  /** {@link maintainScopes} of some kinds. Returns the rotations, and what failed. */
  async maintain(
    kinds: readonly string[],
    dryRun: boolean,
  ): Promise<Pick<MaintenanceReport, 'scopes' | 'failures'>> {
    const scopes: ScopeRotation[] = [];
    const failures: MaintenanceFailure[] = [];
    for (const kind of kinds) {
      try {
        const rotation = await maintainScopes(this.#services, this.#scopes, { kind, dryRun });
        if (rotation.rotated > 0 || rotation.failures.length > 0) scopes.push(rotation);
        for (const { code, message } of rotation.failures) {
          failures.push({ keyName: kind, code, message });
        }
      } catch (error) {
        if (!(error instanceof FieldEncryptionError)) throw error;
        failures.push({ keyName: kind, code: error.code, message: error.message });
      }
    }
    return { scopes, failures };
  }

  /**
   * Gives new keys to the scopes whose present key a branch key has sealed, since who knows that knows theirs.
   *
   * @returns why some have none yet.
   * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
   */
  async rotateUnder(branchId: string): Promise<ScopeRotation['failures']> {
    const parts = { services: this.#services, scopes: this.#scopes };
    const failures: ScopeRotation['failures'][number][] = [];
    for await (const due of this.#presentUnder(branchId)) {
      for (const kind of new Set(due.map((key) => key.kind))) {
        const ofKind = due.filter((key) => key.kind === kind).map(scopeOf);
        failures.push(...(await rotateScopes(parts, kind, [ofKind])).failures);
      }
    }
    return failures;
  }

  /** Whether a branch key has sealed the present key of any scope. */
  async isInUse(branchId: string): Promise<boolean> {
    for await (const present of this.#presentUnder(branchId)) if (present.length > 0) return true;
    return false;
  }

  async *#presentUnder(branchId: string): AsyncGenerator<readonly ScopeKeyRecord[]> {
    for (let after = ''; ;) {
      const page = await this.#scopes.store.findSealedBy([branchId], {
        after,
        limit: ROTATED_PAGE,
      });
      yield page.filter(({ purpose, state }) => purpose === 'data' && state === 'active');
      if (page.length < ROTATED_PAGE) return;
      after = page.at(-1)?.id ?? after;
    }
  }

  /** See {@link eraseScope}. */
  erase(scope: Scope, options: ErasureOptions, rows: ScopeRows<C>): Promise<Erasure> {
    return eraseScope(this.#services, this.#scopes, scope, { options, rows });
  }

  /** See {@link replayErasures}. */
  replay(
    receipts: readonly ErasureReceipt[],
    how: ReplayTrust & { readonly rows: ScopeRows<C> },
  ): Promise<ReplayReport> {
    return replayErasures(this.#services, this.#scopes, receipts, how);
  }

  /** See {@link replayStep}. */
  replayStep(receipt: unknown, trust: ReplayTrust): Promise<ReplayStep> {
    return replayStep(this.#services, this.#scopes, receipt, trust);
  }

  /**
   * Asks for the KMS of each scope that has a branch of its own, by the table of scope keys. Whoever edits that
   * makes no other KMS be asked: the name of a branch tells its scope.
   *
   * @param nameOrId - of the branch, or of a version of it, if not of all.
   * @returns the branches with the names that those of their scopes have now; undefined where that is not known.
   */
  async nameOwnBranches(nameOrId?: string): Promise<ReadonlyMap<KeyRecord, string | undefined>> {
    const { branches, store } = this.#scopes;
    const records = (await this.#services.store.list()).filter(({ name }) => isOwnBranchName(name));
    const meant = records.find(({ id }) => id === nameOrId)?.name ?? nameOrId;
    const names = new Map<KeyRecord, string | undefined>();
    for (const record of records) {
      if (meant !== undefined && record.name !== meant) continue;
      const sealed = await store.findUnderBranch(record.id);
      names.set(record, sealed && branches.nameIfKnown(scopeOf(sealed)));
    }
    return names;
  }

  /** Returns the branches of scopes that are back under the KMS of the common keys, and that no provider opens. */
  async strandedBranches(): Promise<RewrapFailure[]> {
    const stranded: RewrapFailure[] = [];
    for (const [record, name] of await this.nameOwnBranches()) {
      if (name !== BRANCH_NAME || record.state === 'destroyed') continue;
      try {
        await this.#services.wrapper.unwrapToRead(record);
      } catch (error) {
        if (!(error instanceof FieldEncryptionError)) throw error;
        stranded.push(strandedBranch(record, error));
      }
    }
    return stranded;
  }

  /** See {@link resealScopes}. */
  reseal(): Promise<ResealReport> {
    return resealScopes(this.#services, this.#scopes);
  }
}

function strandedBranch(
  { id: keyId, name, version, kms }: KeyRecord,
  { code, message }: FieldEncryptionError,
): RewrapFailure {
  const remedy =
    `It was wrapped by kms "${kms}", and the option kms gives its scope the common one. Let it return the ` +
    'provider of the scope; or, for a scope that moves back, add that provider to otherKms, and run `keys rotate ' +
    '--scope` and `data reencrypt --scope` for it.';
  return { keyId, name, version, code, message: `${message} ${remedy}` };
}
