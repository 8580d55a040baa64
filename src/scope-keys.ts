import type { ManagedOperation } from './access/access-level';
import type { Subject } from './approvals/approval-request';
import type { AuditEntry } from './audit/audit-entry';
import { UnsupportedValueError } from './errors';
import type { ScopeRotation } from './keys/lifecycle/maintenance-report';
import type { Scope } from './keys/record/scope';
import { ALL_SCOPES, unknownKind } from './keys/scopes/scope-context';
import type { ScopeIds } from './keys/scopes/scope-context';
import { isReceipt, receiptDigest } from './keys/scopes/erasure/erasure-receipt';
import type { ErasureReceipt } from './keys/scopes/erasure/erasure-receipt';
import type { ReplayReport } from './keys/scopes/erasure/erasure-replay';
import type { Erasure } from './keys/scopes/erasure/scope-erasure';
import type { ResealReport } from './keys/scopes/scope-resealing';
import { scopeRows } from './reencryption/coverage/scope-rows';
import { scopeStatus } from './reencryption/coverage/scope-status';
import type { ScopeStatus } from './reencryption/coverage/scope-status';
import { namesNoScopes } from './scope-options';
import type {
  ReplayOptions,
  RotateScopesOptions,
  ScopeReason,
  ShredOptions,
} from './scope-options';
import type { Installation } from './typeorm/installation/installation';
import { knownScope, knownScopes } from './typeorm/installation/known-scopes';
import { managedWork } from './typeorm/installation/managed-work';
import { declaredKinds } from './typeorm/metadata/encrypted-column';

/** Entries in one read. */
const PAGE = 500;

/** The keys of scopes: of tenants, persons, or whatever `@KeyScope` names. */
export class ScopeKeys {
  /** @internal */
  protected readonly installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.installation = installation;
  }

  /** @internal Runs an operation as {@link managedWork} does. */
  protected run<T>(
    operation: ManagedOperation,
    subject: Subject,
    work: () => T | Promise<T>,
  ): Promise<T> {
    return managedWork(this.installation, operation, subject, work);
  }

  /**
   * Gives a scope a new data key. Rows stay under the one they have until {@link FieldEncryption.reencrypt}.
   *
   * @returns the id of the new key.
   * @throws {@link ErasedError}, {@link KmsUnavailableError}, {@link KeyUnwrapError}, {@link KeyStateError} for one
   * without keys
   */
  async rotateScope(scope: ScopeIds): Promise<string> {
    const named = await this.#known(scope);
    return this.run('rotate', { parameters: { ...named } }, () =>
      this.installation.keys.scopeOperations.rotate(named),
    );
  }

  /**
   * Gives scopes new data keys, as {@link ScopeKeys.rotateScope} does, some hundred in a transaction. Leaves erased
   * ones alone, and those that are to be erased; one that fails stops no other. It can be interrupted and repeated:
   * with `olderThanDays` it then goes on with those that are left, without it rotates all of them.
   *
   * @returns what was done, by kind.
   * @throws {@link UnsupportedValueError} for options that name no scopes
   * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
   */
  async rotateScopes(options: RotateScopesOptions): Promise<ScopeRotation[]> {
    const { olderThanDays = 0, dryRun = false } = options;
    if (!(olderThanDays >= 0 && olderThanDays < Infinity)) throw wrongAge();
    const { scopeOperations } = this.installation.keys;
    const named = await this.#named(options);
    const scopesOf = ([kind, scopes]: [string, readonly Scope[] | 'all']) =>
      [kind, scopes === 'all' ? scopes : scopes.map(({ id }) => id)] as const;
    const rotated = Object.fromEntries([...named].map(scopesOf));
    const rotations: ScopeRotation[] = [];
    return this.run('rotate', { parameters: { rotated, olderThanDays, dryRun } }, async () => {
      for (const [kind, scopes] of named) {
        rotations.push(await scopeOperations.rotateAll(kind, scopes, { olderThanDays, dryRun }));
      }
      return rotations;
    });
  }

  async #named({
    kind,
    scopes,
  }: RotateScopesOptions): Promise<ReadonlyMap<string, readonly Scope[] | 'all'>> {
    if ((scopes === undefined) === (kind === undefined)) throw namesNoScopes();
    const declared = declaredKinds(this.installation.columns);
    if (scopes === undefined || scopes === ALL_SCOPES) {
      const chosen = declared.filter((each) => kind === undefined || each === kind);
      if (chosen.length === 0 && kind !== undefined) throw unknownKind(new Set(declared));
      return new Map(chosen.map((each) => [each, 'all']));
    }
    if (!Array.isArray(scopes)) throw namesNoScopes();
    const named = await knownScopes(this.installation, scopes);
    const kinds = [...new Set(named.map((scope) => scope.kind))];
    return new Map(kinds.map((each) => [each, named.filter((scope) => scope.kind === each)]));
  }

  #known(scope: ScopeIds): Promise<Scope> {
    return knownScope(this.installation, scope);
  }

  /**
   * Erases what belongs to a scope, everywhere in the database, by erasing its keys. The first call requests it,
   * and from then on nothing is written for the scope; a later one, when every process has noticed, erases. From then
   * on, each returns the receipt of that time. Rows stay, and nobody can read their values. Backups of the database
   * hold the wrapped keys until they, or all KEK versions that they need, are destroyed.
   *
   * @throws {@link KeyStateError} for a scope under a legal hold, and while columns with keys of its kind hold values
   * under a common key, or rows of it cleartext; retryable while transactions are open that may have written
   */
  async shred({ scope, waitMs, ...options }: ShredOptions): Promise<Erasure> {
    const named = await this.#known(scope);
    const { scopeOperations, scopes } = this.installation.keys;
    const rows = scopeRows(this.installation, waitMs);
    // Each of the two steps is approved for itself.
    const request = (await scopes.marks.find(named, 'erasure'))?.id ?? null;
    const parameters = { ...options, ...named, request };
    return this.run('shred', { parameters }, () => scopeOperations.erase(named, options, rows));
  }

  /**
   * Erases scopes again once the database was restored from a backup that is older than their erasure. Run it before
   * the application starts. Leaves scopes alone that are under a legal hold, and those of receipts that nothing
   * proves any more, as their branch key is gone. It may be repeated.
   *
   * @param receipts - of {@link ScopeKeys.shred}, which are to be kept outside of the database.
   * @returns the receipts of this time, and those whose scopes were left alone
   * @throws {@link KeyStateError} for a receipt of another application; {@link KeyUnwrapError} for one that was
   * edited or made up; {@link ConfigurationError} for anything else. Nothing is erased then. And as
   * {@link ScopeKeys.shred} does while values would be left readable
   */
  async replayShred(
    receipts: readonly ErasureReceipt[],
    { waitMs, acceptUnproven }: ReplayOptions = {},
  ): Promise<ReplayReport> {
    const rows = scopeRows(this.installation, waitMs);
    const own = receipts.map((each) => (isReceipt(each) ? structuredClone(each) : each));
    const replayed = own.map((each) => (isReceipt(each) ? receiptDigest(each) : null));
    return this.run('shred', { parameters: { replayed, acceptUnproven } }, () =>
      this.installation.keys.scopeOperations.replay(own, { rows, acceptUnproven }),
    );
  }

  /**
   * Seals the keys of scopes under the newest version of their branch key, after `rotate('branch')`, so that the
   * earlier versions can be destroyed. Rows stay as they are. It can be interrupted and repeated.
   *
   * A key that fails, as its row was edited or the KMS of its scope refuses, is counted and stops no other.
   *
   * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses
   */
  resealScopes(): Promise<ResealReport> {
    return this.run('rewrap', { parameters: { scopes: 'all' } }, () =>
      this.installation.keys.scopeOperations.reseal(),
    );
  }

  /**
   * Returns the keys of scopes with their age, whether they are erased, to be erased or under a legal hold, and the
   * number of rows that need them.
   *
   * @throws {@link KeyStateError} for a scope without keys, {@link KeyUnwrapError} for a mark that was edited
   */
  async scopeStatus(scopes: readonly ScopeIds[]): Promise<ScopeStatus[]> {
    const statuses: ScopeStatus[] = [];
    for (const scope of await knownScopes(this.installation, scopes)) {
      statuses.push(await scopeStatus(this.installation, scope));
    }
    return statuses;
  }

  /** Cancels an erasure that was requested. @throws {@link KeyStateError} if none is under way */
  async cancelShred({ scope, reason }: ScopeReason): Promise<void> {
    const named = await this.#known(scope);
    return this.run('cancelShred', { parameters: { ...named, reason } }, () =>
      this.installation.keys.scopes.marks.unset(named, 'erasure', reason),
    );
  }

  /**
   * Puts a scope under a legal hold: it is not erased until it is released.
   *
   * @throws {@link KeyStateError} for one that is erased, or under a hold already
   */
  async hold({ scope, reason }: ScopeReason): Promise<void> {
    const named = await this.#known(scope);
    await this.run('hold', { parameters: { ...named, reason } }, () =>
      this.installation.keys.scopes.marks.set(named, 'hold', { reason }),
    );
  }

  /** Ends a legal hold. @throws {@link KeyStateError} if there is none */
  async release({ scope, reason }: ScopeReason): Promise<void> {
    const named = await this.#known(scope);
    return this.run('release', { parameters: { ...named, reason } }, () =>
      this.installation.keys.scopes.marks.unset(named, 'hold', reason),
    );
  }

  /**
   * Whether a receipt is that of an entry of the audit log: nothing in it was changed. Whether the log is whole,
   * {@link AuditTrail.verify} says.
   *
   * @throws {@link UnsupportedValueError} for a value that is no receipt
   */
  async isRecorded(receipt: ErasureReceipt): Promise<boolean> {
    if (!isReceipt(receipt)) throw notAReceipt();
    const reference = receiptDigest(receipt);
    for (let after = 0; ;) {
      const page = await this.installation.audit.list({ after, limit: PAGE });
      if (page.some((entry) => isErasure(entry) && entry.reference === reference)) return true;
      if (page.length < PAGE) return false;
      after = page.at(-1)?.seq ?? after;
    }
  }
}

function isErasure({ operation, outcome }: AuditEntry): boolean {
  return operation === 'shred' && outcome === 'done';
}

function notAReceipt(): UnsupportedValueError {
  return new UnsupportedValueError('Give the receipt of an erasure, as shred() returned it.');
}

function wrongAge(): UnsupportedValueError {
  return new UnsupportedValueError('olderThanDays is a number of days from 0 on.');
}
