import type { AccessControl } from './access/access-control';
import type { AuditEntry } from './audit/audit-entry';
import { UnsupportedValueError } from './errors';
import { DEFAULT_KIND, scopeId } from './keys/record/scope';
import type { Scope } from './keys/record/scope';
import type { ScopeIds } from './keys/scopes/scope-context';
import { receiptDigest } from './keys/scopes/erasure/erasure-receipt';
import type { ErasureReceipt } from './keys/scopes/erasure/erasure-receipt';
import type { ReplayReport } from './keys/scopes/erasure/erasure-replay';
import type { Erasure, ErasureOptions } from './keys/scopes/erasure/scope-erasure';
import type { ResealReport } from './keys/scopes/scope-resealing';
import { requireMoved, scopeRows } from './reencryption/coverage/scope-rows';
import { withConnection } from './typeorm/connection/lent-connection';
import type { Installation } from './typeorm/installation/installation';

/** Entries in one read. */
const PAGE = 500;

/** Options of {@link ScopeKeys.shred}. */
export interface ShredOptions extends ErasureOptions {
  /** The scope: `{ tenant: 42 }`, or its id alone for the kind `'default'`. */
  readonly scope: ScopeIds;
  /** Milliseconds to wait for open transactions on encrypted tables. Defaults to 30,000. */
  readonly waitMs?: number | undefined;
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

  /** @internal */
  protected get access(): AccessControl {
    return this.installation.access;
  }

  /**
   * Gives a scope a new data key. Rows stay under the one they have until {@link FieldEncryption.reencrypt}.
   *
   * @returns the id of the new key.
   * @throws {@link ErasedError}, {@link KmsUnavailableError}, {@link KeyStateError}
   */
  async rotateScope(scope: ScopeIds): Promise<string> {
    return this.access.run('rotate', () =>
      this.installation.keys.scopeOperations.rotate(scopeNamed(scope)),
    );
  }

  /**
   * Erases what belongs to a scope, everywhere in the database, by erasing its keys. The first call requests it,
   * and from then on nothing is written for the scope; a later one, when every process has noticed, erases. Rows
   * stay, and nobody can read their values. Backups of the database hold the wrapped keys until they, or all KEK
   * versions that they need, are destroyed.
   *
   * @throws {@link KeyStateError} for a scope under a legal hold, or one that is erased, and while columns with keys
   * of its kind hold values under a common key; retryable while transactions are open that may have written
   */
  async shred({ scope, waitMs, ...options }: ShredOptions): Promise<Erasure> {
    const named = scopeNamed(scope);
    await this.#requireMoved([named]);
    const rows = scopeRows(this.installation, waitMs);
    return this.access.run('shred', () =>
      this.installation.keys.scopeOperations.erase(named, options, rows),
    );
  }

  /**
   * Erases scopes again once the database was restored from a backup that is older than their erasure. Run it before
   * the application starts. Leaves scopes alone that are under a legal hold. It may be repeated.
   *
   * @param receipts - of {@link ScopeKeys.shred}, which are to be kept outside of the database.
   * @returns the receipts of this time, and those whose scopes were left alone
   * @throws {@link KeyStateError} for a receipt of another application; {@link KeyUnwrapError} for one that was
   * edited or made up; {@link ConfigurationError} for anything else. Nothing is erased then. And as
   * {@link ScopeKeys.shred} does while a column holds values under a common key
   */
  async replayShred(
    receipts: readonly ErasureReceipt[],
    { waitMs }: Pick<ShredOptions, 'waitMs'> = {},
  ): Promise<ReplayReport> {
    const rows = scopeRows(this.installation, waitMs);
    return this.access.run('shred', () =>
      this.installation.keys.scopeOperations.replay(receipts, rows),
    );
  }

  /** Before an erasure is requested, from which on rows of the scope cannot be moved. */
  async #requireMoved(scopes: readonly { readonly kind: string }[]): Promise<void> {
    const { installation } = this;
    await withConnection(installation.dataSource, undefined, async (runner) => {
      for (const kind of new Set(scopes.map((scope) => scope.kind))) {
        await requireMoved(installation, runner, kind);
      }
    });
  }

  /**
   * Seals the keys of scopes under the newest version of their branch key, after `rotate('branch')`, so that the
   * earlier versions can be destroyed. Rows stay as they are. It can be interrupted and repeated.
   *
   * @throws {@link KeyUnwrapError} for a key whose row was edited
   * @throws {@link KmsUnavailableError} if the KMS of the common keys refuses; scopes with another are counted
   */
  resealScopes(): Promise<ResealReport> {
    return this.access.run('rewrap', () => this.installation.keys.scopeOperations.reseal());
  }

  /** Cancels an erasure that was requested. @throws {@link KeyStateError} if none is under way */
  async cancelShred({ scope, reason }: ScopeReason): Promise<void> {
    return this.access.run('cancelShred', () =>
      this.installation.keys.scopes.marks.unset(scopeNamed(scope), 'erasure', reason),
    );
  }

  /**
   * Puts a scope under a legal hold: it is not erased until it is released.
   *
   * @throws {@link KeyStateError} for one that is erased, or under a hold already
   */
  async hold({ scope, reason }: ScopeReason): Promise<void> {
    await this.access.run('hold', () =>
      this.installation.keys.scopes.marks.set(scopeNamed(scope), 'hold', { reason }),
    );
  }

  /** Ends a legal hold. @throws {@link KeyStateError} if there is none */
  async release({ scope, reason }: ScopeReason): Promise<void> {
    return this.access.run('release', () =>
      this.installation.keys.scopes.marks.unset(scopeNamed(scope), 'hold', reason),
    );
  }

  /**
   * Whether a receipt is that of an entry of the audit log: nothing in it was changed. Whether the log is whole,
   * {@link AuditTrail.verify} says.
   */
  async isRecorded(receipt: ErasureReceipt): Promise<boolean> {
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

/** @throws {@link UnsupportedValueError} for anything but one scope */
function scopeNamed(scope: ScopeIds): Scope {
  const named =
    typeof scope === 'object' ? Object.entries(scope) : [[DEFAULT_KIND, scope] as const];
  const [[kind, value] = ['', ''], ...others] = named;
  const id = scopeId(value);
  if (others.length === 0 && kind !== '' && id !== undefined) return { kind, id };
  throw new UnsupportedValueError(
    'Name one scope: { tenant: 42 }, or its id alone. An id is a text of 1 to 256 bytes, a safe integer or a bigint.',
  );
}
