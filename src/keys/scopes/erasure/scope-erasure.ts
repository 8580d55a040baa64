import { actorOf } from '../../../audit/audit-entry';
import type { AuditEntry, AuditEvent } from '../../../audit/audit-entry';
import { KeyStateError } from '../../../errors';
import type { KeyServices } from '../../key-services';
import { requireWait } from '../../policy/wait-option';
import { newDataKeyId } from '../../../format/data-key-id';
import { wholeSecond } from '../../record/key-record';
import { endOfWait } from '../../store/watched-key-store';

import { receiptDigest, sealedReceipt } from './erasure-receipt';
import type { ErasedRows, ErasureReceipt } from './erasure-receipt';
import { receiptIn, withReceipt } from './kept-receipt';
import type { KeysOfScopes } from '../keys-of-scopes';
import { applyRecorded } from '../recorded-change';
import type { ScopeKeyChange } from '../scope-key-store';
import type { Scope } from '../../record/scope';
import { isMark } from '../../record/scope-key-record';
import type { ScopeKeyRecord } from '../../record/scope-key-record';
import { erasedError } from './marks-of-scopes';
import { auditedMark, changedMeanwhile, requireReason } from './scope-marks';

/** Entries of the audit log in one read. */
const PAGE = 500;

/** Options of an erasure. */
export interface ErasureOptions {
  /** Why, for the audit log and the receipt; 1 to 64 characters, without personal data. */
  readonly reason: string;
  /**
   * Milliseconds between request and erasure, in which it can be cancelled. Defaults to 0. The request keeps them:
   * a later call may wait longer, never shorter.
   */
  readonly delayMs?: number | undefined;
  /**
   * Milliseconds for which a process may still write with the keys after the request. Defaults to
   * `keyCache.maxAgeMs`; 0 where no other process can have them.
   */
  readonly graceMs?: number | undefined;
}

/** A step of an erasure. */
export type Erasure =
  | { readonly state: 'requested'; readonly erasableFrom: Date }
  | { readonly state: 'erased'; readonly receipt: ErasureReceipt };

const KEY_PURPOSES = ['data', 'index'] as const;

/** The rows of scopes. */
export interface ScopeRows<C> {
  /**
   * Refuses the erasure of a scope that would leave values readable.
   *
   * @throws {@link KeyStateError}
   */
  readonly requireErasable: (scope: Scope) => Promise<void>;
  /**
   * Counts the rows under these keys of a scope in each column of its kind, and empties their common tokens.
   *
   * @throws {@link KeyStateError} while values would be left readable
   */
  readonly erase: (
    scope: Scope,
    keyIds: readonly string[],
    connection: C,
  ) => Promise<readonly ErasedRows[]>;
  /** Waits for the end of the transactions that have written, or are about to. */
  readonly writersToEnd: () => Promise<void>;
}

/**
 * Takes the next step of erasing what belongs to a scope: requests it, which stops writes for the scope, or
 * erases its keys, once every process has noticed. It may be repeated; for an erased scope it returns the receipt.
 *
 * @throws {@link KeyStateError} for a scope under a legal hold, or one whose erasure would leave values readable;
 * retryable for transactions that do not end
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
  await requireUnheld(scopes, scope);
  const waitMs = Math.max(delayMs, graceMs);
  const found = await scopes.marks.findRecorded(scope, 'erasure');
  const receipt = found?.state === 'erased' ? receiptIn(scopes, found) : undefined;
  if (receipt !== undefined) return { state: 'erased', receipt };
  // From the request on, rows of the scope cannot be written.
  await rows.requireErasable(scope);
  const mark =
    found?.state === 'active'
      ? found
      : await scopes.marks.set(scope, 'erasure', { reason, waitMs });
  await requireReasonOfRequest(services, mark, reason);
  const erasableFrom = latest(scopes.marks.erasableFrom(mark), endOfWait(mark.since, waitMs));
  if ((await services.store.now()) < erasableFrom) return { state: 'requested', erasableFrom };
  const how = { reason, rows, replays: null };
  return { state: 'erased', receipt: await eraseMarked(services, scopes, mark, how) };
}

/** The receipt names the reason for which the erasure was requested. */
async function requireReasonOfRequest<C>(
  { audit }: KeyServices<C>,
  { id, kind }: ScopeKeyRecord,
  reason: string,
): Promise<void> {
  let request: AuditEntry | undefined;
  for (let after = 0; request === undefined;) {
    const page = (await audit?.list({ operation: 'shred', after, limit: PAGE })) ?? [];
    request = page.find(({ keyId, outcome }) => keyId === id && outcome === 'started');
    if (page.length < PAGE) break;
    after = page.at(-1)?.seq ?? after;
  }
  if (request === undefined || request.reference === reason) return;
  throw new KeyStateError(
    `The erasure of the ${kind} was requested for another reason, which the audit log has. Nothing was erased. Give ` +
      'that reason, or cancel the erasure and request it anew.',
  );
}

function latest(a: Date, b: Date): Date {
  return a > b ? a : b;
}

/** How {@link eraseMarked} erases. */
interface MarkedErasure<C> extends Pick<ErasureReceipt, 'reason' | 'replays'> {
  readonly rows: ScopeRows<C>;
}

/** Erases the keys of a scope whose erasure was requested, once nobody writes with them any more. */
export async function eraseMarked<C>(
  services: KeyServices<C>,
  scopes: KeysOfScopes<C>,
  mark: ScopeKeyRecord,
  { rows, ...how }: MarkedErasure<C>,
): Promise<ErasureReceipt> {
  const { application, audit, store } = services;
  const { id: markId, kind, scope } = mark;
  await rows.writersToEnd();
  await scopes.branches.prepareCommon();
  const branch = scopes.branches.common;
  const since = wholeSecond(await store.now());
  const keys = (await scopes.store.findAll({ kind, id: scope })).filter((key) => !isMark(key));
  const keyIds = keys.map(({ id }) => id).sort();
  const dates = { requestedAt: mark.since.toISOString(), erasedAt: since.toISOString() };
  const actor = audit?.actor() ?? actorOf({});
  const fields = { application, kind, scope, actor, markId, ...how, ...dates, keyIds };
  const marked = scopes.marks.changed(mark, { state: 'erased', since });
  const changes = [
    { expected: mark, record: marked },
    ...keys.map((expected) => ({ expected, record: blank(expected, since) })),
  ];
  let receipt: ErasureReceipt | undefined;
  const event = async (transaction: C): Promise<AuditEvent> => {
    // One may have been set while the writers were waited for.
    await requireUnheld(scopes, { kind, id: scope }, transaction);
    const columns = await rows.erase({ kind, id: scope }, keyIds, transaction);
    receipt = sealedReceipt(branch, { ...fields, columns });
    return { ...recordedErasure(receipt), mark: auditedMark(mark) };
  };
  const inserted = noLaterKeys(keys, { id: branch.id, since, scope: { kind, id: scope } });
  const further = (): ScopeKeyChange[] =>
    receipt === undefined ? [] : [withReceipt(services, scopes, marked, receipt)];
  const erased = await applyRecorded(services, scopes.store, { changes, inserted, event, further });
  if (!erased || receipt === undefined) throw changedMeanwhile(mark);
  scopes.clear();
  scopes.ring.known.noteErased({ kind, id: scope }, erasedError(marked));
  return receipt;
}

function recordedErasure(receipt: ErasureReceipt): Omit<AuditEvent, 'mark'> {
  const { keyIds, columns } = receipt;
  const counts = { keys: keyIds.length, rows: columns.reduce((sum, { rows }) => sum + rows, 0) };
  return { operation: 'shred', outcome: 'done', reference: receiptDigest(receipt), counts };
}

/** Returns the tombstone of a key, which the mark of its scope proves. */
function blank(key: ScopeKeyRecord, since: Date): ScopeKeyRecord {
  // Only the last one is current, and keeps others from being made.
  const state = key.state === 'active' ? 'erased' : key.state;
  return { ...key, state, since, sealed: new Uint8Array() };
}

/**
 * Returns tombstones in the place of keys that a scope does not have yet: a process that is about to make one finds
 * its place taken, and one that was faster makes the erasure fail.
 */
function noLaterKeys(
  keys: readonly ScopeKeyRecord[],
  {
    id: branchId,
    since,
    scope,
  }: { readonly id: string; readonly since: Date; readonly scope: Scope },
): ScopeKeyRecord[] {
  const missing = KEY_PURPOSES.filter(
    (purpose) => !keys.some((key) => key.purpose === purpose && key.state !== 'deactivated'),
  );
  return missing.map((purpose) => {
    const versions = keys.filter((key) => key.purpose === purpose).map(({ version }) => version);
    return {
      ...{ id: newDataKeyId(), kind: scope.kind, scope: scope.id, purpose, branchId, since },
      ...{ version: Math.max(0, ...versions) + 1, state: 'erased', suite: 'hmac-sha-256' },
      sealed: new Uint8Array(),
    };
  });
}

async function requireUnheld<C>(
  { marks }: KeysOfScopes<C>,
  scope: Scope,
  connection?: C,
): Promise<void> {
  if ((await marks.findRecorded(scope, 'hold', connection)) === undefined) return;
  throw new KeyStateError(
    `The ${scope.kind} is under a legal hold, and is not erased. Release the hold first.`,
  );
}
