import { ConfigurationError } from '../../errors';
import type { AuditVerification, BrokenEntry } from '../../audit/audit-verification';
import type { TreeHead } from '../../audit/merkle-tree';
import type { AnchorDiscrepancy } from '../anchor/anchor-discrepancy';
import type { KeyRecord } from '../record/key-record';
import type { RowFindings, UnprovenKey } from '../wrapping/row-proofs';

/** A key whose state in the key table is not the last one in the log. */
export interface KeyDiscrepancy {
  readonly keyId: string;
  /** State after the last recorded operation; `null` where none is recorded. */
  readonly logged: string | null;
  /** State in the key table; `null` where the key is not in it. */
  readonly found: string | null;
  /** Epoch after the last recorded operation; `null` where none is recorded. */
  readonly loggedEpoch: number | null;
  /** Epoch in the key table: where it is lower than the recorded one, an older row was put back. */
  readonly foundEpoch: number | null;
}

/** The result of verifying the audit log. */
export interface AuditReport {
  /** Whether every entry is in place, and the key table agrees with them and is proven. */
  readonly ok: boolean;
  /** Entries that follow each other without a break. */
  readonly entries: number;
  /** Names the last of them: keep it elsewhere, and expect it next time. `null` without any. */
  readonly head: string | null;
  /** The Merkle tree over these entries (RFC 6962): its size, and its root in base64. */
  readonly tree: TreeHead;
  /** The first entry that is wrong. Nothing can be said of those after it. */
  readonly broken: BrokenEntry | null;
  /** Keys that were not changed by the library, or whose table was rolled back; only of an unbroken log. */
  readonly keys: readonly KeyDiscrepancy[];
  /**
   * Keys that do not unwrap, whose row was edited or is there twice, or that could have been made
   * without the KMS. Those that are marked as destroyed have nothing to prove.
   */
  readonly unproven: readonly UnprovenKey[];
  /** Keys that the KMS failed on while it opened others: nothing can be said of them now. */
  readonly undecided: readonly UnprovenKey[];
  /** Keys whose row is missing, or older than the one the anchor knows; `null` without an anchor. */
  readonly anchor: readonly AnchorDiscrepancy[] | null;
}

/** The findings that a report is made of. */
interface Findings {
  /** The verification of the log, at its end. */
  readonly verification: AuditVerification;
  readonly tree: TreeHead;
  /** The key table as of that end. */
  readonly records: readonly KeyRecord[];
  /** Whether changes of keys are recorded. */
  readonly isKept: boolean;
  readonly rows: RowFindings;
  /** Ids that several rows have. */
  readonly duplicates: readonly string[];
  readonly anchor: readonly AnchorDiscrepancy[] | null;
}

/** State, in the log, of a key that was missing from a table that was accepted. */
export const MISSING = 'missing';

/** Compares the log with the key table, and reports all that is wrong. */
export function auditReport(findings: Findings): AuditReport {
  const { verification, tree, records, isKept, rows, duplicates, anchor } = findings;
  const { entries, head } = verification;
  const broken = verification.broken ?? lostBeginning(verification, records, isKept);
  const keys = broken === undefined ? discrepancies(verification, records) : [];
  const unproven = [...rows.unproven, ...duplicates.map(duplicated)];
  const { undecided } = rows;
  const isClean = [keys, unproven, undecided, anchor ?? []].every((found) => found.length === 0);
  const ok = broken === undefined && isClean;
  const log = { entries, head, tree, broken: broken ?? null };
  return { ok, ...log, keys, unproven, undecided, anchor };
}

/** The log begins with the creation of its own key, and while it is kept no key is older than its entry. */
function lostBeginning(
  { entries }: AuditVerification,
  records: readonly KeyRecord[],
  isKept: boolean,
): BrokenEntry | undefined {
  const isLost =
    entries === 0 &&
    records.some(({ purpose, state }) => purpose === 'audit' || (isKept && state !== 'destroyed'));
  return isLost ? { seq: 1, problem: 'truncated' } : undefined;
}

function discrepancies(
  { keys, entries }: AuditVerification,
  records: readonly KeyRecord[],
): KeyDiscrepancy[] {
  const rows = new Map(records.map((record) => [record.id, record]));
  const changed = [...keys.values()].flatMap(({ id, state, epoch }) => {
    const row = rows.get(id);
    if (row === undefined ? isGivenUp(state) : agrees(row, state, epoch)) return [];
    const found = row?.state ?? null;
    const foundEpoch = row?.epoch ?? null;
    return [{ keyId: id, logged: state, found, loggedEpoch: epoch, foundEpoch }];
  });
  // A log that began after its keys looks the same as one that was begun again to hide entries.
  const unrecorded = records.filter(
    ({ id, state }) => entries > 0 && !keys.has(id) && state !== 'destroyed',
  );
  return [
    ...changed,
    ...unrecorded.map(({ id, state, epoch }) => ({
      keyId: id,
      logged: null,
      found: state,
      loggedEpoch: null,
      foundEpoch: epoch,
    })),
  ];
}

function agrees(row: KeyRecord, state: string, epoch: number | null): boolean {
  return row.state === state && row.epoch >= (epoch ?? 0);
}

/** Whether a key in this logged state need not have a row. */
export function isGivenUp(state: string): boolean {
  return state === 'destroyed' || state === MISSING;
}

function duplicated(keyId: string): UnprovenKey {
  const message =
    `several rows of data_keys have the id ${keyId}, and one of them is taken for the key: the table has lost its ` +
    'primary key. Remove the rows that are not the right one, and restore the primary key and the unique indexes; ' +
    '`field-encryption doctor` names them.';
  return { keyId, code: 'ERR_KEY_STATE', message };
}

/** Returns the error of an expected head that is none. */
export function notAHead(): ConfigurationError {
  return new ConfigurationError(
    'audit verify: the expected head is none. It looks like 17:… with 43 characters after the colon, ' +
      'as `audit head` prints it.',
  );
}
