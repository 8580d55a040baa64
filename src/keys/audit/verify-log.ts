import type { AuditEntry, AuditRange } from '../../audit/audit-entry';
import { readHead } from '../../audit/audit-entry';
import { AuditVerification } from '../../audit/audit-verification';
import type { FindSeal, LogObserver } from '../../audit/audit-verification';
import { LogTree } from '../../audit/log-tree';
import type { TreeHead } from '../../audit/merkle-tree';
import type { KeyAnchor } from '../anchor/key-anchor';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { proveRows } from '../wrapping/row-proofs';

import { auditReport, notAHead } from './audit-report';
import type { AuditReport } from './audit-report';
import { followToTheEnd } from './follow-log';

/** What a log must still contain. */
export interface ExpectedLog {
  /** An earlier head. */
  readonly head?: string | undefined;
  /** An earlier tree, of which a checkpoint tells. */
  readonly tree?: TreeHead | undefined;
}

/** The same, and the tree that the anchor knows. */
export interface Expectation extends ExpectedLog {
  readonly anchored: TreeHead | undefined;
}

/** How a log is followed. */
export interface FollowOptions<C> extends Pick<LogObserver, 'note'> {
  /** The caller's, if it holds one. */
  readonly connection?: C | undefined;
}

/** A log that was verified up to its end, and the key table as of that, which is not proven yet. */
export interface FollowedLog {
  readonly verification: AuditVerification;
  readonly tree: LogTree;
  /** The tree that a proof is wanted for. */
  readonly earlier: TreeHead | undefined;
  readonly records: readonly KeyRecord[];
  readonly duplicates: readonly string[];
}

/** The result of verifying a log. */
export interface VerifiedLog {
  readonly report: AuditReport;
  /** The proof that its tree contains the expected one, in base64; empty without one. */
  readonly consistency: readonly string[];
}

/** @throws `ConfigurationError` for a malformed head */
export function expectation(expected: ExpectedLog, anchored: Expectation['anchored']): Expectation {
  if (expected.head !== undefined && readHead(expected.head) === undefined) throw notAHead();
  return { ...expected, anchored };
}

/** Verifies every entry of a log. */
export async function followedLog<C>(
  log: {
    readonly store: Pick<KeyStore<C>, 'list' | 'duplicates'>;
    readonly findSeal: FindSeal;
    readonly list: (range: AuditRange, connection?: C) => Promise<AuditEntry[]>;
  },
  { anchored, head, tree: earlier }: Expectation,
  { connection, note }: FollowOptions<C>,
): Promise<FollowedLog> {
  const tree = new LogTree([anchored, earlier].filter((known) => known !== undefined));
  const verification = new AuditVerification(log.findSeal, head, { tree, note });
  const records = await followToTheEnd(
    verification,
    (range) => log.list(range, connection),
    () => log.store.list(connection),
  );
  const duplicates = await log.store.duplicates(connection);
  return { verification, tree, earlier, records, duplicates };
}

/** Proves the keys of the table that a log was followed with, and reports all that is wrong. */
export async function judgedLog<C>(
  { verification, tree, earlier, records, duplicates }: FollowedLog,
  {
    anchor,
    isKept,
    wrapper,
  }: {
    readonly anchor: KeyAnchor<C> | undefined;
    readonly isKept: boolean;
    readonly wrapper: KeyWrapper;
  },
): Promise<VerifiedLog> {
  const report = auditReport({
    ...{ verification, tree: tree.head, records, isKept, duplicates },
    rows: await proveRows(wrapper, records),
    anchor: (await anchor?.compare()) ?? null,
  });
  if (report.ok && report.entries > 0) await anchor?.noteLog(report.tree);
  return { report, consistency: earlier === undefined ? [] : tree.consistencyFrom(earlier.size) };
}
