import type { AuditedMark, AuditEvent } from '../../../audit/audit-entry';
import { isWellFormed } from '../../../encoding/text';
import { ConfigurationError, KeyStateError } from '../../../errors';
import { newDataKeyId } from '../../../format/data-key-id';
import type { KeyServices } from '../../key-services';
import { IF_IT_GOES_ON } from '../../lifecycle/compare-and-swap';
import { wholeSecond } from '../../record/key-record';
import { endOfWait } from '../../store/watched-key-store';

import type { Scope } from '../../record/scope';
import { isErased, isMark } from '../../record/scope-key-record';
import type { MarkPurpose, ScopeKeyRecord } from '../../record/scope-key-record';
import { applyRecorded } from '../recorded-change';
import type { RecordedChange } from '../recorded-change';
import type { ScopeBranches } from '../scope-branches';
import type { ScopeKeyRing } from '../scope-key-ring';
import type { ScopeKeyStore } from '../scope-key-store';
import { mayBeSealedKey, sealScopeKey } from '../sealed-scope-key';
import { BEGINNINGS, requireRecorded } from './recorded-mark';

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

  /**
   * {@link ScopeMarks.find}, for what follows from the mark.
   *
   * @throws {@link KeyStateError} for one that was ended and put back
   */
  async findRecorded(
    scope: Scope,
    purpose: MarkPurpose,
    connection?: C,
  ): Promise<ScopeKeyRecord | undefined> {
    const mark = await this.find(scope, purpose, connection);
    if (mark?.state === 'active') await requireRecorded(this.#services, mark, connection);
    return mark;
  }

  /**
   * Refuses a mark that cannot be set.
   *
   * @throws {@link KeyStateError} for a scope that was erased, or has such a mark
   */
  async requireUnmarked(scope: Scope, purpose: MarkPurpose): Promise<void> {
    const erasure = await this.find(scope, 'erasure');
    if (erasure?.state === 'erased') throw erasedBefore(erasure);
    if ((await this.find(scope, purpose)) !== undefined) throw markedBefore(scope, purpose);
  }

  /**
   * Returns the mark that is to be ended.
   *
   * @throws {@link KeyStateError} if there is none that can be
   */
  async requireMarked(scope: Scope, purpose: MarkPurpose): Promise<ScopeKeyRecord> {
    const mark = await this.find(scope, purpose);
    if (mark?.state !== 'active') throw notMarked(scope, purpose);
    return mark;
  }

  /**
   * Sets a mark, and records that.
   *
   * @param waitMs - for an erasure: milliseconds until it is possible.
   */
  async set(
    scope: Scope,
    purpose: MarkPurpose,
    { reason, waitMs = 0 }: { readonly reason: string; readonly waitMs?: number },
  ): Promise<ScopeKeyRecord> {
    requireReason(reason);
    await this.requireUnmarked(scope, purpose);
    await this.#scopes.branches.prepareCommon();
    const earlier = await this.#scopes.store.findAll(scope);
    const versions = earlier.filter((record) => record.purpose === purpose);
    const since = wholeSecond(await this.#services.store.now());
    const fields = {
      ...{
        id: newDataKeyId(),
        kind: scope.kind,
        scope: scope.id,
        purpose,
        state: 'active' as const,
      },
      version: Math.max(0, ...versions.map(({ version }) => version)) + 1,
      suite: 'hmac-sha-256' as const,
      since,
    };
    const content = purpose === 'erasure' ? timeBytes(endOfWait(since, waitMs)) : new Uint8Array();
    const { branches } = this.#scopes;
    const mark = sealScopeKey(branches.common, fields, this.#services.application, content);
    // An erasure changes the rows of all keys, and looks for holds then: one that is not committed yet, it waits for.
    const key = earlier.find((record) => !isMark(record));
    const awaited = key === undefined ? [] : [{ expected: key, record: key }];
    await this.#apply(mark, {
      changes: awaited,
      inserted: [mark],
      event: { ...BEGINNINGS[purpose], reference: reason },
    });
    return mark;
  }

  /** Ends a mark, and records that. */
  async unset(scope: Scope, purpose: MarkPurpose, reason: string): Promise<void> {
    requireReason(reason);
    const expected = await this.requireMarked(scope, purpose);
    await this.#scopes.branches.prepareCommon();
    const record = this.changed(expected, { state: 'deactivated' });
    const operation = purpose === 'hold' ? 'release' : 'cancelShred';
    await this.#apply(expected, {
      changes: [{ expected, record }],
      event: { operation, outcome: 'done', reference: reason },
    });
  }

  /** Returns the time from which an erasure is possible, by its mark. */
  erasableFrom(mark: ScopeKeyRecord): Date {
    return new Date(Number(Buffer.from(this.#scopes.ring.proveMark(mark)).readBigUInt64BE()));
  }

  /** Seals a mark again, by the common branch key, with changed fields. */
  changed(
    mark: ScopeKeyRecord,
    changes: Partial<Pick<ScopeKeyRecord, 'state' | 'since'>>,
  ): ScopeKeyRecord {
    return this.#scopes.ring.resealed(mark, changes, this.#scopes.branches.common);
  }

  async #apply(
    mark: ScopeKeyRecord,
    {
      event,
      ...changes
    }: Omit<RecordedChange<C>, 'event'> & { readonly event: Omit<AuditEvent, 'mark'> },
  ): Promise<void> {
    const done = await applyRecorded(this.#services, this.#scopes.store, {
      ...changes,
      event: () => ({ ...event, mark: auditedMark(mark) }),
    });
    if (!done) throw changedMeanwhile(mark);
    this.#scopes.clear();
  }
}

/** Returns a mark as the audit log names it: its id stands for the scope, which may be a person. */
export function auditedMark({ id, kind, purpose, version }: ScopeKeyRecord): AuditedMark {
  return { id, name: kind, purpose, version };
}

function timeBytes(time: Date): Uint8Array {
  const bytes = Buffer.alloc(BigUint64Array.BYTES_PER_ELEMENT);
  bytes.writeBigUInt64BE(BigInt(Math.ceil(time.getTime())));
  return bytes;
}

/** Whether a record is a mark, or was one and poses as a key, for which it is too short or too long. */
function hasFormOfMark(record: ScopeKeyRecord): boolean {
  return isMark(record) || !(mayBeSealedKey(record) || isErased(record));
}

/** Refuses a reason that the audit log cannot hold. */
export function requireReason(reason: string): void {
  const isText = typeof reason === 'string' && reason.length >= 1 && reason.length <= 64;
  if (isText && isWellFormed(reason)) return;
  throw new ConfigurationError(
    'The reason of an erasure or a legal hold is a text of 1 to 64 characters, for the audit log.',
  );
}

/** Returns the error of a scope whose keys another process changed first. */
export function changedMeanwhile({ kind }: Pick<Scope, 'kind'>): KeyStateError {
  return new KeyStateError(
    `The keys of the ${kind} were changed by another process meanwhile. Try again. ${IF_IT_GOES_ON}`,
    { retryable: true },
  );
}

function erasedBefore({ kind, since }: ScopeKeyRecord): KeyStateError {
  return new KeyStateError(
    `The ${kind} was erased at ${since.toISOString()}. Its receipt says more; a repeated shred returns it.`,
  );
}

function markedBefore({ kind }: Scope, purpose: MarkPurpose): KeyStateError {
  return new KeyStateError(
    purpose === 'hold'
      ? `The ${kind} is under a legal hold already.`
      : `The erasure of the ${kind} is requested already.`,
  );
}

function notMarked({ kind }: Scope, purpose: MarkPurpose): KeyStateError {
  return new KeyStateError(
    purpose === 'hold'
      ? `The ${kind} is under no legal hold.`
      : `No erasure of the ${kind} is under way that could be cancelled.`,
  );
}
