import { AEAD_KEY_BYTES, AEAD_TAG_BYTES } from '../../crypto/aead';
import { ConfigurationError, KeyStateError } from '../../errors';
import { newDataKeyId } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import { IF_IT_GOES_ON } from '../lifecycle/compare-and-swap';
import { wholeSecond } from '../record/key-record';

import type { Scope } from '../record/scope';
import { isErased, isMark } from '../record/scope-key-record';
import type { MarkPurpose, ScopeKeyRecord } from '../record/scope-key-record';
import { applyRecorded } from './recorded-change';
import type { ScopeBranches } from './scope-branches';
import type { ScopeKeyRing } from './scope-key-ring';
import type { ScopeKeyChange, ScopeKeyStore } from './scope-key-store';
import { sealScopeKey } from './sealed-scope-key';

const OPERATIONS = { erasure: 'shred', hold: 'hold' } as const;

/** What the marks of scopes depend on. */
interface MarkParts<C> {
  readonly store: ScopeKeyStore<C>;
  readonly branches: ScopeBranches<C>;
  readonly ring: ScopeKeyRing<C>;
  /** Forgets the keys in memory. */
  readonly clear: () => void;
}

/**
 * The marks of scopes: that of a legal hold, and that of an erasure. They are sealed by the common branch
 * key, as a scope's own KMS may be gone by then.
 */
export class ScopeMarks<C> {
  readonly #services: KeyServices<C>;
  readonly #scopes: MarkParts<C>;

  constructor(services: KeyServices<C>, scopes: MarkParts<C>) {
    this.#services = services;
    this.#scopes = scopes;
  }

  /**
   * Returns the mark of a scope. All marks of the scope have to prove themselves for it.
   *
   * @throws {@link KeyUnwrapError} for one that was edited, {@link UnauthenticatedKeyError}
   */
  async find(
    scope: Scope,
    purpose: MarkPurpose,
    connection?: C,
  ): Promise<ScopeKeyRecord | undefined> {
    const { ring, store } = this.#scopes;
    const marks = (await store.findAll(scope, connection)).filter(hasFormOfMark);
    await ring.loadBranches(marks, connection);
    return ring.markAmong(marks, purpose);
  }

  /** Sets a mark, and records that. */
  async set(scope: Scope, purpose: MarkPurpose, reason: string): Promise<ScopeKeyRecord> {
    requireReason(reason);
    await this.#scopes.branches.prepareCommon();
    const earlier = await this.#scopes.store.findAll(scope);
    const versions = earlier.filter((record) => record.purpose === purpose);
    const mark = this.sealed({
      ...{ id: newDataKeyId(), kind: scope.kind, scope: scope.id, purpose, state: 'active' },
      version: Math.max(0, ...versions.map(({ version }) => version)) + 1,
      suite: 'hmac-sha-256',
      since: wholeSecond(await this.#services.store.now()),
    });
    const outcome = purpose === 'hold' ? 'done' : 'started';
    // An erasure changes the rows of all keys, and looks for holds then: one that is not committed yet, it waits for.
    const key = earlier.find((record) => !isMark(record));
    const awaited = key === undefined ? [] : [{ expected: key, record: key }];
    await this.#apply(scope, awaited, [mark], { operation: OPERATIONS[purpose], outcome, reason });
    return mark;
  }

  /** Ends a mark, and records that. */
  async unset(scope: Scope, purpose: MarkPurpose, reason: string): Promise<void> {
    requireReason(reason);
    const mark = await this.find(scope, purpose);
    if (mark?.state !== 'active') throw notMarked(scope, purpose);
    await this.#scopes.branches.prepareCommon();
    const record = this.sealed({ ...mark, state: 'deactivated' });
    const operation = purpose === 'hold' ? 'release' : 'cancelShred';
    await this.#apply(scope, [{ expected: mark, record }], [], {
      ...{ operation, outcome: 'done', reason },
    });
  }

  /** Seals a mark by the common branch key. */
  sealed(fields: Omit<ScopeKeyRecord, 'sealed' | 'branchId'>): ScopeKeyRecord {
    return sealScopeKey(this.#scopes.branches.common, fields, this.#services.application);
  }

  async #apply(
    scope: Scope,
    changes: readonly ScopeKeyChange[],
    inserted: readonly ScopeKeyRecord[],
    event: {
      readonly operation: 'shred' | 'cancelShred' | 'hold' | 'release';
      readonly outcome: 'started' | 'done';
      readonly reason: string;
    },
  ): Promise<void> {
    const { operation, outcome, reason: reference } = event;
    const done = await applyRecorded(this.#services, this.#scopes.store, {
      ...{ changes, inserted },
      event: () => ({ operation, outcome, reference }),
    });
    if (!done) throw changedMeanwhile(scope);
    this.#scopes.clear();
  }
}

/** Whether a record is a mark, or was one and poses as a key, for which it is too short. */
function hasFormOfMark(record: ScopeKeyRecord): boolean {
  const isTooShort = record.sealed.length <= AEAD_KEY_BYTES + AEAD_TAG_BYTES;
  return isMark(record) || (isTooShort && !isErased(record));
}

/** Refuses a reason that the audit log cannot hold. */
export function requireReason(reason: string): void {
  if (typeof reason === 'string' && reason.length >= 1 && reason.length <= 64) return;
  throw new ConfigurationError(
    'The reason of an erasure or a legal hold is a text of 1 to 64 characters, for the audit log.',
  );
}

/** Returns the error of a scope whose keys another process changed first. */
export function changedMeanwhile({ kind }: Scope): KeyStateError {
  return new KeyStateError(
    `The keys of the ${kind} were changed by another process meanwhile. Try again. ${IF_IT_GOES_ON}`,
    { retryable: true },
  );
}

function notMarked({ kind }: Scope, purpose: MarkPurpose): KeyStateError {
  return new KeyStateError(
    purpose === 'hold'
      ? `The ${kind} is under no legal hold.`
      : `No erasure of the ${kind} is under way that could be cancelled.`,
  );
}
