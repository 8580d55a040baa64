import type { AuditEvent } from '../../audit/audit-entry';
import type { LoggedKey } from '../../audit/audit-verification';
import { ConfigurationError, FieldEncryptionError, KeyStateError } from '../../errors';
import { discrepancies } from '../anchor/anchor-discrepancy';
import type { AnchorDiscrepancy } from '../anchor/anchor-discrepancy';
import type { KeyServices } from '../key-services';
import { isProven, provenChange, unprovenChange } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import type { KeyRecord } from '../record/key-record';
import { EPOCH_REACH } from '../store/key-epochs';
import type { KeyChange } from '../store/key-store';

import { isGivenUp, MISSING } from './audit-report';

/** Options of `acceptEpoch()`. */
export interface AcceptEpochOptions {
  /** Why, for the audit log; 1 to 64 characters. */
  reason: string;
  /** Reports what differs and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** The result of accepting an older key table (in a dry run: what it would be). */
export interface AcceptEpochReport {
  /** The epoch that every row has now. */
  readonly epoch: number;
  /** Rows that were sealed again. */
  readonly keys: number;
  /** Keys that are given up: those of which the anchor or this process knows a newer row. */
  readonly differences: readonly AnchorDiscrepancy[];
}

const MAX_REASON_CHARS = 64;

/**
 * Accepts the key table as the newest though newer rows were seen: after a restore of the database, or a
 * failover that lost a change of a key. Every row is proven by itself, and sealed again above the given
 * epoch, so that running processes accept it, too.
 *
 * @param epoch - the newest epoch that is given up, as the error or `audit verify` names it.
 * @throws {@link KeyStateError} for an epoch below one that is known, or a row that was edited;
 * {@link ConfigurationError} without a reason; what unwrapping throws
 */
export async function acceptEpoch<C>(
  services: KeyServices<C>,
  epoch: number,
  { reason, dryRun = false }: AcceptEpochOptions,
): Promise<AcceptEpochReport> {
  requireReason(reason);
  const { store, wrapper, audit } = services;
  await checkAnchor(services);
  const records = await store.list();
  const proofs = await proveAll(services, records);
  requireKnownEpoch(epoch, newestOf(services, records, proofs));

  const known = wrapper.epochs.known();
  const differences = discrepancies(known, records);
  const report = { epoch: epoch + 1, keys: records.length, differences };
  if (dryRun) return report;
  // What was seen is forgotten, and restored below if the table could not be changed.
  wrapper.epochs.clear();
  let isDone = false;
  try {
    isDone = await store.apply(changesOf(records, proofs, report.epoch, reason));
  } finally {
    if (!isDone) wrapper.epochs.learn(known);
  }
  if (!isDone) throw changedMeanwhile();
  // Keys in the log that are newer than the restored table are given up, too.
  const missing = missingAmong((await audit?.keysInLog()) ?? [], records);
  await audit?.record(...missing.map((key) => givenUp(key, reason)));
  await audit?.anchor?.accept(epoch);
  return report;
}

/** Checks the anchor if it can be used. An operator may be here because it cannot. */
async function checkAnchor<C>({ audit }: KeyServices<C>): Promise<void> {
  try {
    await audit?.anchor?.check();
  } catch (error) {
    if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
  }
}

async function proveAll<C>(
  { wrapper }: KeyServices<C>,
  records: readonly KeyRecord[],
): Promise<Map<string, StateAuthenticator>> {
  const proofs = new Map<string, StateAuthenticator>();
  for (const record of records) {
    if (record.state === 'destroyed') continue;
    const { authenticateState } = await wrapper.unwrapOfAnyAge(record);
    proofs.set(record.id, authenticateState);
  }
  return proofs;
}

/** The newest epoch: of rows that prove theirs, and of others as far as they are within reach. */
function newestOf<C>(
  { wrapper }: KeyServices<C>,
  records: readonly KeyRecord[],
  proofs: ReadonlyMap<string, StateAuthenticator>,
): number {
  const opened = records.flatMap((record) => {
    const authenticate = proofs.get(record.id);
    return authenticate === undefined ? [] : [{ record, proven: isProven(record, authenticate) }];
  });
  const proven = opened.filter((row) => row.proven).map(({ record }) => record.epoch);
  const claims = opened.filter((row) => !row.proven).map(({ record }) => record);
  return Math.max(...proven, wrapper.epochs.next(...claims) - 1);
}

function changesOf(
  records: readonly KeyRecord[],
  proofs: ReadonlyMap<string, StateAuthenticator>,
  epoch: number,
  acceptedFor: string,
): KeyChange[] {
  return records.map((expected) => {
    const authenticate = proofs.get(expected.id);
    const set =
      authenticate === undefined
        ? unprovenChange({ state: 'destroyed' }, epoch)
        : provenChange(authenticate, expected, {}, epoch);
    return { type: 'update', expected, set, acceptedFor };
  });
}

function missingAmong(logged: readonly LoggedKey[], records: readonly KeyRecord[]): LoggedKey[] {
  const ids = new Set(records.map(({ id }) => id));
  return logged.filter(({ id, state }) => !ids.has(id) && !isGivenUp(state));
}

function givenUp({ epoch, ...key }: LoggedKey, reference: string): AuditEvent {
  const counts = epoch === null ? {} : { epoch };
  return {
    operation: 'acceptEpoch',
    outcome: 'done',
    key: { ...key, state: MISSING },
    reference,
    counts,
  };
}

function requireReason(reason: string): void {
  if (reason.trim() !== '' && reason.length <= MAX_REASON_CHARS && !/\p{Cc}/u.test(reason)) return;
  throw new ConfigurationError(
    `acceptEpoch: it needs a reason of 1 to ${String(MAX_REASON_CHARS)} characters in one line, for the audit log.`,
  );
}

function requireKnownEpoch(epoch: number, newest: number): void {
  if (Number.isSafeInteger(epoch) && epoch >= newest && epoch <= newest + EPOCH_REACH) return;
  throw new KeyStateError(
    `acceptEpoch: got epoch ${String(epoch)}; the newest that is known here is ${String(newest)}. Give that, or a ` +
      'higher one that a process named in its error. Nothing was changed.',
  );
}

function changedMeanwhile(): KeyStateError {
  return new KeyStateError(
    'The key table was changed by another process meanwhile; nothing was accepted. Try again.',
    { retryable: true },
  );
}
