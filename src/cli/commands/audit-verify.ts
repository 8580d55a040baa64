import { grouped } from '../../doctor/counted';
import type { AuditProblem } from '../../audit/audit-verification';
import type { AuditReport } from '../../keys/key-audit';
import type { CommandWork } from '../common-options';
import { EXIT_CODES } from '../exit-code';
import type { Session } from '../session';

const PROBLEMS: Readonly<Record<AuditProblem, string>> = {
  missing: 'is missing',
  edited: 'was edited',
  moved: 'does not follow the one before it',
  unknownSeal: 'was sealed with a key that is not in the key table',
  unopenedSeal: 'was sealed with a key that does not open',
  unauthenticatedSeal:
    'was sealed with a key that somebody without the KMS could have made; see keys adopt --dry-run',
  truncated: 'and what followed it were cut off',
  otherHead: 'is not the one that was expected',
};

/** Verifies the audit log, and the key table by it. A broken log is exit code 1. */
export async function auditVerify(
  { fieldEncryption }: Session,
  { expectHead }: { readonly expectHead?: string },
): ReturnType<CommandWork> {
  const report = await fieldEncryption.audit.verify(expectHead === undefined ? {} : { expectHead });
  return {
    document: report,
    text: linesOf(report).join('\n'),
    exitCode: report.ok ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}

function linesOf({ entries, head, broken, keys, anchor, ...rows }: AuditReport): string[] {
  return [
    `${grouped(entries)} ${entries === 1 ? 'entry' : 'entries'} verified.`,
    ...(head === null ? [] : [`Head: ${head}`]),
    ...(broken === null ? [] : [`Entry ${String(broken.seq)} ${PROBLEMS[broken.problem]}.`]),
    ...keys.map(
      ({ keyId, logged, found, loggedEpoch, foundEpoch }) =>
        `Key ${keyId} is ${inWords(found, foundEpoch)} in the key table, and ${inWords(logged, loggedEpoch)} in the log.`,
    ),
    ...(anchor ?? []).map(
      ({ keyId, anchored, found }) =>
        `Key ${keyId} is ${inWords(found?.state, found?.epoch)} in the key table, and ` +
        `${inWords(anchored.state, anchored.epoch)} in the anchor.`,
    ),
    ...rows.unproven.map((row) => `Key ${row.keyId} is unproven: ${row.code}: ${row.message}`),
    ...rows.undecided.map((row) => `Key ${row.keyId} is undecided: ${row.code}: ${row.message}`),
  ];
}

function inWords(state: string | null | undefined, epoch: number | null | undefined): string {
  if (state === null || state === undefined) return 'not there';
  return typeof epoch === 'number' ? `${state} at epoch ${String(epoch)}` : state;
}
