import type { AuditEntry, AuditRange } from '../../audit/audit-entry';
import { readHead } from '../../audit/audit-entry';
import { AuditVerification } from '../../audit/audit-verification';
import type { FindSeal } from '../../audit/audit-verification';
import type { AnchorDiscrepancy } from '../anchor/anchor-discrepancy';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { proveRows } from '../wrapping/row-proofs';

import { auditReport, notAHead } from './audit-report';
import type { AuditReport } from './audit-report';
import { followToTheEnd } from './follow-log';

/** How a log is followed. */
export interface FollowOptions<C> {
  /** An earlier head, which the log must still contain. */
  readonly expectHead?: string | undefined;
  /** The caller's, if it holds one. */
  readonly connection?: C | undefined;
  /** Receives each entry that holds. */
  readonly note?: ((entry: AuditEntry) => void) | undefined;
}

/** A log that was verified up to its end, and the key table as of that, which is not proven yet. */
export interface FollowedLog {
  readonly verification: AuditVerification;
  readonly records: readonly KeyRecord[];
  readonly duplicates: readonly string[];
}

/**
 * Verifies every entry of a log.
 *
 * @throws `ConfigurationError` for a malformed head
 */
export async function followedLog<C>(
  store: Pick<KeyStore<C>, 'list' | 'duplicates'>,
  log: {
    readonly findSeal: FindSeal;
    readonly list: (range: AuditRange, connection?: C) => Promise<AuditEntry[]>;
  },
  { expectHead, connection, note }: FollowOptions<C>,
): Promise<FollowedLog> {
  if (expectHead !== undefined && readHead(expectHead) === undefined) throw notAHead();
  const verification = new AuditVerification(log.findSeal, expectHead, note);
  const records = await followToTheEnd(
    verification,
    (range) => log.list(range, connection),
    () => store.list(connection),
  );
  return { verification, records, duplicates: await store.duplicates(connection) };
}

/** Proves the keys of the table that a log was followed with, and reports all that is wrong. Takes no connection. */
export async function judgedLog(
  { verification, records, duplicates }: FollowedLog,
  wrapper: KeyWrapper,
  { isKept, anchor }: { isKept: boolean; anchor: readonly AnchorDiscrepancy[] | null },
): Promise<AuditReport> {
  const rows = await proveRows(wrapper, records);
  return auditReport({ verification, records, isKept, rows, duplicates, anchor });
}
