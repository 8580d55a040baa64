import type { AuditOptions } from '../../audit/audit-entry';
import { readHead } from '../../audit/audit-entry';
import { AuditVerification } from '../../audit/audit-verification';
import { LogTree } from '../../audit/log-tree';
import type { TreeHead } from '../../audit/merkle-tree';
import type { KeyAnchor } from '../anchor/key-anchor';
import type { KeyStore } from '../store/key-store';
import type { KeyWrapper } from '../wrapping/key-wrapper';
import { proveRows } from '../wrapping/row-proofs';

import type { AuditKey } from './audit-key';
import { auditReport, notAHead } from './audit-report';
import type { AuditReport } from './audit-report';
import { followToTheEnd } from './follow-log';
import type { ListEntries } from './follow-log';

/** What a log must still contain. */
export interface ExpectedLog {
  /** An earlier head. */
  readonly head?: string | undefined;
  /** An earlier tree, of which a checkpoint tells. */
  readonly tree?: TreeHead | undefined;
}

/** The result of verifying a log. */
export interface VerifiedLog {
  readonly report: AuditReport;
  /** The proof that its tree contains the expected one, in base64; empty without one. */
  readonly consistency: readonly string[];
}

/** The log, and what it is compared with. */
interface VerifyParts<C> {
  readonly options: AuditOptions | false;
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  readonly key: AuditKey<C>;
  readonly list: ListEntries;
  readonly anchor: KeyAnchor<C> | undefined;
}

/** See `KeyAudit.verify`. */
export async function verifyLog<C>(
  { anchor, key, list, options, store, wrapper }: VerifyParts<C>,
  { head, tree: earlier }: ExpectedLog,
): Promise<VerifiedLog> {
  if (head !== undefined && readHead(head) === undefined) throw notAHead();
  const known = [await anchor?.log(), earlier].filter((tree) => tree !== undefined);
  const tree = new LogTree(known);
  const verification = new AuditVerification(key.finder({ bearsOutages: true }), head, tree);
  const records = await followToTheEnd(verification, list, () => store.list());
  const report = auditReport({
    verification,
    tree: tree.head,
    records,
    isKept: options !== false,
    rows: await proveRows(wrapper, records),
    duplicates: await store.duplicates(),
    anchor: (await anchor?.compare()) ?? null,
  });
  if (report.ok && report.entries > 0) await anchor?.noteLog(report.tree);
  return { report, consistency: earlier === undefined ? [] : tree.consistencyFrom(earlier.size) };
}
