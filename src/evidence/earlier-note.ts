import type { TreeHead } from '../audit/merkle-tree';
import { ConfigurationError, KeyStateError } from '../errors';
import type { AuditReport } from '../keys/audit/audit-report';
import type { Installation } from '../typeorm/installation/installation';

import { readCheckpoint } from './checkpoint';
import { REPORTS, signerName } from './evidence-note';
import { readNote } from './signed-note';

/**
 * Returns the tree of the audit log that an earlier note tells of.
 *
 * @throws {@link ConfigurationError} for what is no note of this installation
 */
export function earlierTree(
  { application }: Pick<Installation['options'], 'application'>,
  since: string | Uint8Array | undefined,
): TreeHead | undefined {
  if (since === undefined) return undefined;
  const text = readNote(since)?.text;
  const earlier = text === undefined ? undefined : readCheckpoint(text);
  if (earlier?.origin === signerName(application, REPORTS)) return earlier;
  throw new ConfigurationError('report: the earlier note is none of this installation.');
}

/** @throws {@link KeyStateError} for a log that does not go on from an earlier one */
export function requireContinuation({ broken }: AuditReport): void {
  if (broken === null) return;
  throw new KeyStateError(
    `report: the audit log does not go on from that of the earlier note (${broken.problem} at entry ` +
      `${String(broken.seq)}). Find out who changed it: \`field-encryption audit verify\`. Nothing was written.`,
  );
}
