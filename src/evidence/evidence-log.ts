import { ConfigurationError, KeyStateError } from '../errors';
import type { AuditReport } from '../keys/audit/audit-report';
import type { Installation } from '../typeorm/installation/installation';

import { readCheckpoint } from './checkpoint';
import { writeConsistency } from './consistency-file';
import { readNote } from './signed-note';
import { signerName } from './signer-name';
import { REPORTS } from './evidence-note';

/** The audit log as evidence tells of it. */
export interface EvidenceLog {
  /** Its `tree` is what the note signs. */
  readonly report: AuditReport;
  /** The content of `consistency.txt`; undefined without an earlier note, or where that has the same log. */
  readonly consistency: string | undefined;
}

/**
 * Verifies the audit log, and that it goes on from the one of an earlier note.
 *
 * @param since - the earlier note.
 * @throws {@link KeyStateError} for a log that does not; {@link ConfigurationError} for what is no note of this
 * installation, and what verifying the log throws
 */
export async function evidenceLog(
  { audit, hasScopes, keys, options }: Installation,
  since?: string | Uint8Array,
): Promise<EvidenceLog> {
  if (hasScopes) await keys.scopeOperations.nameOwnBranches();
  if (since === undefined) {
    return { report: (await audit.verify()).report, consistency: undefined };
  }
  const text = readNote(since)?.text;
  const earlier = text === undefined ? undefined : readCheckpoint(text);
  if (earlier?.origin !== signerName(options.application, REPORTS)) throw notANote();
  const { report, consistency } = await audit.verify({ tree: earlier });
  const { tree, broken } = report;
  if (broken !== null) throw notAContinuation(broken.problem, broken.seq);
  const hasGrown = earlier.size > 0 && earlier.size < tree.size;
  return {
    report,
    consistency: hasGrown ? writeConsistency(earlier.size, tree.size, consistency) : undefined,
  };
}

function notANote(): ConfigurationError {
  return new ConfigurationError('report: the earlier note is none of this installation.');
}

function notAContinuation(problem: string, seq: number): KeyStateError {
  return new KeyStateError(
    `report: the audit log does not go on from that of the earlier note (${problem} at entry ${String(seq)}). Find out who ` +
      'changed it: `field-encryption audit verify`. Nothing was written.',
  );
}
