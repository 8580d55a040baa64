import type { AuditEntry } from './audit/audit-entry';
import { UnsupportedValueError } from './errors';
import type { ScopeRotation } from './keys/lifecycle/maintenance-report';
import type { Scope } from './keys/record/scope';
import { ALL_SCOPES, unknownKind } from './keys/scopes/scope-context';
import type { ScopeIds } from './keys/scopes/scope-context';
import { isReceipt, receiptDigest } from './keys/scopes/erasure/erasure-receipt';
import type { ErasureReceipt } from './keys/scopes/erasure/erasure-receipt';
import type { ReplayReport, ReplayTrust } from './keys/scopes/erasure/erasure-replay';
import type { Erasure, ErasureOptions } from './keys/scopes/erasure/scope-erasure';
import type { ResealReport } from './keys/scopes/scope-resealing';
import { scopeRows } from './reencryption/coverage/scope-rows';
import { scopeStatus } from './reencryption/coverage/scope-status';
import type { ScopeStatus } from './reencryption/coverage/scope-status';
import type { Installation } from './typeorm/installation/installation';
import { knownScope, knownScopes } from './typeorm/installation/known-scopes';
import { declaredKinds } from './typeorm/metadata/encrypted-column';

/** Entries in one read. */
const PAGE = 500;

/** Options of {@link ScopeKeys.shred}. */
export interface ShredOptions extends ErasureOptions {
  /** The scope: `{ tenant: 42 }`, or its id alone where there is one kind. */
  readonly scope: ScopeIds;
  /** Milliseconds to wait for open transactions on encrypted tables. Defaults to 30,000. */
  readonly waitMs?: number | undefined;
}

/** Options of {@link ScopeKeys.replayShred}. */
export interface ReplayOptions extends Pick<ShredOptions, 'waitMs'>, ReplayTrust {}

/** Options of {@link ScopeKeys.rotateScopes}. */
export interface RotateScopesOptions {
  /** The scopes, or {@link ALL_SCOPES}. Defaults to all of `kind`. */
  readonly scopes?: readonly ScopeIds[] | typeof ALL_SCOPES | undefined;
  /** Instead of `scopes`: all of this kind. */
  readonly kind?: string | undefined;
  /** Leaves alone keys that have been active for fewer days, by the time of the policies. Defaults to 0. */
  readonly olderThanDays?: number | undefined;
  /** Counts the scopes that are due and changes nothing. Defaults to `false`. */
  readonly dryRun?: boolean | undefined;
}

/** A scope and why something is done with it. */
export interface ScopeReason {
  readonly scope: ScopeIds;
  /** For the audit log; 1 to 64 characters, without personal data. */
  readonly reason: string;
}

/** The keys of scopes: of tenants, persons, or whatever `@KeyScope` names. */
export class ScopeKeys {
  /** @internal */
  protected readonly installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.installation = installation;
  }

  /** Works on a key: the branch of a scope with a KMS of its own, too, of which this process may have used no row. */
  protected async onKey<T>(nameOrId: string, work: () => Promise<T>): Promise<T> {
    const { hasScopes, keys } = this.installation;
    if (hasScopes) await keys.scopeOperations.nameOwnBranches(nameOrId);
    return work();
  }

  /**
   * Gives a scope a new data key. Rows stay under the one they have until {@link FieldEncryption.reencrypt}.
   *
   * @returns the id of the new key.
   * @throws {@link ErasedError}, {@link KmsUnavailableError}, {@link KeyUnwrapError}, {@link KeyStateError} for one
   * without keys
   */
  async rotateScope(scope: ScopeIds): Promise<string> {
    const known = await this.#known(scope);
    return this.installation.keys.scopeOperations.rotate(known);
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
    const rotations: ScopeRotation[] = [];
    for (const [kind, scopes] of await this.#named(options)) {
      rotations.push(await scopeOperations.rotateAll(kind, scopes, { olderThanDays, dryRun }));
    }
    return rotations;
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
    const rows = scopeRows(this.installation, waitMs);
    return this.installation.keys.scopeOperations.erase(named, options, rows);
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
    return this.installation.keys.scopeOperations.replay(receipts, { rows, acceptUnproven });
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
    return this.installation.keys.scopeOperations.reseal();
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
    return this.installation.keys.scopes.marks.unset(await this.#known(scope), 'erasure', reason);
  }

  /**
   * Puts a scope under a legal hold: it is not erased until it is released.
   *
   * @throws {@link KeyStateError} for one that is erased, or under a hold already
   */
  async hold({ scope, reason }: ScopeReason): Promise<void> {
    await this.installation.keys.scopes.marks.set(await this.#known(scope), 'hold', { reason });
  }

  /** Ends a legal hold. @throws {@link KeyStateError} if there is none */
  async release({ scope, reason }: ScopeReason): Promise<void> {
    return this.installation.keys.scopes.marks.unset(await this.#known(scope), 'hold', reason);
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

function namesNoScopes(): UnsupportedValueError {
  return new UnsupportedValueError(
    'Say which scopes get new keys: `scopes`, a list of them or ALL_SCOPES, or else `kind`.',
  );
}

function wrongAge(): UnsupportedValueError {
  return new UnsupportedValueError('olderThanDays is a number of days from 0 on.');
}
