import { createHash } from 'node:crypto';

import type { AuditEvent } from '../../audit/audit-entry';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { ColumnUse } from '../lifecycle/encrypted-rows';
import { requireWait } from '../policy/wait-option';
import { wholeSecond } from '../record/key-record';
import { endOfWait } from '../store/watched-key-store';

import type { KeysOfScopes } from './keys-of-scopes';
import { applyRecorded } from './recorded-change';
import type { Scope } from '../record/scope';
import { isMark } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';
import { changedMeanwhile, requireReason } from './scope-marks';

/** Options of an erasure. */
export interface ErasureOptions {
  /** Why, for the audit log and the receipt; 1 to 64 characters, without personal data. */
  readonly reason: string;
  /** Milliseconds between request and erasure, in which it can be cancelled. Defaults to 0. */
  readonly delayMs?: number | undefined;
  /**
   * Milliseconds for which a process may still write with the keys after the request. Defaults to
   * `keyCache.maxAgeMs`; 0 where no other process can have them.
   */
  readonly graceMs?: number | undefined;
}

/** The rows of a column that were under the keys of a scope. */
export type ErasedRows = Pick<ColumnUse, 'entity' | 'property' | 'rows'>;

/** The proof of an erasure. Its digest is the reference of an entry of the audit log. */
export interface ErasureReceipt {
  readonly application: string;
  readonly kind: string;
  readonly scope: string;
  readonly reason: string;
  /** ISO 8601, UTC, by the clock of the database, like `erasedAt`. */
  readonly requestedAt: string;
  readonly erasedAt: string;
  /** Ids of the erased keys. */
  readonly keyIds: readonly string[];
  /** The columns with rows that nobody can read any more. */
  readonly columns: readonly ErasedRows[];
}

/** A step of an erasure. */
export type Erasure =
  | { readonly state: 'requested'; readonly erasableFrom: Date }
  | { readonly state: 'erased'; readonly receipt: ErasureReceipt };

/** The rows under the keys of scopes. */
export interface ScopeRows<C> {
  /** Counts the rows under these keys in each column of the kind, and empties their common tokens. */
  readonly erase: (
    kind: string,
    keyIds: readonly string[],
    connection: C,
  ) => Promise<readonly ErasedRows[]>;
  /** Waits for the end of the transactions that have written, or are about to. */
  readonly writersToEnd: () => Promise<void>;
}

/**
 * Takes the next step of erasing what belongs to a scope: requests it, which stops writes for the scope, or
 * erases its keys, once every process has noticed. It may be repeated.
 *
 * @throws {@link KeyStateError} for a scope under a legal hold, or one that is erased; retryable for
 * transactions that do not end
 */
export async function eraseScope<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  scope: Scope,
  { options, rows }: { readonly options: ErasureOptions; readonly rows: ScopeRows<C> },
): Promise<Erasure> {
  const { reason, delayMs = 0, graceMs = services.policy.maxAgeMs } = options;
  requireWait('shred: delayMs', delayMs);
  requireWait('shred: graceMs', graceMs);
  requireReason(reason);
  if ((await scopes.marks.find(scope, 'hold')) !== undefined) throw underHold(scope);
  if ((await scopes.store.findAll(scope)).every(isMark)) throw unknownScope(scope);
  const mark =
    (await scopes.marks.find(scope, 'erasure')) ??
    (await scopes.marks.set(scope, 'erasure', reason));
  if (mark.state === 'erased') throw erasedBefore(mark);
  const erasableFrom = endOfWait(mark.since, Math.max(delayMs, graceMs));
  if ((await services.store.now()) < erasableFrom) return { state: 'requested', erasableFrom };
  await rows.writersToEnd();
  const unheld = whileUnheld(scopes, scope, rows);
  return {
    state: 'erased',
    receipt: await erase(services, scopes, { mark, reason, rows: unheld }),
  };
}

/** Looks for a hold again in the transaction that erases: one may have been set while the writers were waited for. */
function whileUnheld<C>(
  { marks }: KeysOfScopes<C>,
  scope: Scope,
  rows: ScopeRows<C>,
): ScopeRows<C> {
  return {
    ...rows,
    erase: async (kind, keyIds, transaction) => {
      if ((await marks.find(scope, 'hold', transaction)) !== undefined) throw underHold(scope);
      return rows.erase(kind, keyIds, transaction);
    },
  };
}

/**
 * Erases scopes again after a restore of the database from an older backup, before the application starts. Their
 * holds and waits were over when the receipts were written.
 *
 * @returns the receipts of this time; none for a scope that is still erased
 */
export async function replayErasures<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  receipts: readonly ErasureReceipt[],
  rows: ScopeRows<C>,
): Promise<ErasureReceipt[]> {
  const foreign = receipts.find(({ application }) => application !== services.application);
  if (foreign !== undefined) throw receiptOfOther(foreign);
  const replayed: ErasureReceipt[] = [];
  for (const { kind, scope: id, reason } of receipts) {
    const scope = { kind, id };
    const found = await scopes.marks.find(scope, 'erasure');
    if (found?.state === 'erased') continue;
    const mark = found ?? (await scopes.marks.set(scope, 'erasure', reason));
    await rows.writersToEnd();
    replayed.push(await erase(services, scopes, { mark, reason, rows }));
  }
  return replayed;
}

async function erase<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  { mark, reason, rows }: { mark: ScopeKeyRecord; reason: string; rows: ScopeRows<C> },
): Promise<ErasureReceipt> {
  const { application, store } = services;
  const { kind, scope } = mark;
  await scopes.branches.prepareCommon();
  const since = wholeSecond(await store.now());
  const keys = (await scopes.store.findAll({ kind, id: scope })).filter((key) => !isMark(key));
  const keyIds = keys.map(({ id }) => id).sort();
  const dates = { requestedAt: mark.since.toISOString(), erasedAt: since.toISOString() };
  let receipt: ErasureReceipt = {
    ...{ application, kind, scope, reason, ...dates, keyIds, columns: [] },
  };
  const changes = [
    { expected: mark, record: scopes.marks.sealed({ ...mark, state: 'erased', since }) },
    ...keys.map((expected) => ({ expected, record: blank(expected, since) })),
  ];
  const event = async (transaction: C): Promise<AuditEvent> => {
    receipt = { ...receipt, columns: await rows.erase(kind, keyIds, transaction) };
    const counts = { keys: keyIds.length, rows: receipt.columns.reduce((n, c) => n + c.rows, 0) };
    return { operation: 'shred', outcome: 'done', reference: receiptDigest(receipt), counts };
  };
  const erased = await applyRecorded(services, scopes.store, { changes, event });
  if (!erased) throw changedMeanwhile({ kind, id: scope });
  scopes.clear();
  return receipt;
}

/** Returns the digest of a receipt, by which the audit log knows it. */
export function receiptDigest(receipt: ErasureReceipt): string {
  const { application, kind, scope, reason, requestedAt, erasedAt, keyIds, columns } = receipt;
  const rows = columns.flatMap((column) => [column.entity, column.property, String(column.rows)]);
  const parts = [application, kind, scope, reason, requestedAt, erasedAt];
  return createHash('sha256')
    .update(lengthPrefixed([...parts, lengthPrefixed(keyIds), lengthPrefixed(rows)]))
    .digest('hex');
}

/** Returns the tombstone of a key, which the mark of its scope proves. */
function blank(key: ScopeKeyRecord, since: Date): ScopeKeyRecord {
  // Only the last one is current, and keeps others from being made.
  const state = key.state === 'active' ? 'erased' : key.state;
  return { ...key, state, since, sealed: new Uint8Array() };
}

function underHold({ kind }: Scope): KeyStateError {
  return new KeyStateError(
    `The ${kind} is under a legal hold, and is not erased. Release the hold first.`,
  );
}

function erasedBefore({ kind, since }: ScopeKeyRecord): KeyStateError {
  return new KeyStateError(
    `The ${kind} was erased at ${since.toISOString()}. Its receipt says more.`,
  );
}

function unknownScope({ kind }: Scope): KeyStateError {
  return new KeyStateError(
    `The ${kind} has no keys, and nothing was erased. Look whether its id is right, and of the right kind.`,
  );
}

function receiptOfOther({ application }: ErasureReceipt): KeyStateError {
  return new KeyStateError(
    `A receipt is of the application "${application}". Nothing was erased. Replay the receipts of this one.`,
  );
}
