import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type {
  AuditEntry,
  AuditOperation,
  AuditOutcome,
  AuditRange,
} from '../../../audit/audit-entry';
import type { AuditProblem } from '../../../audit/audit-verification';
import { grouped } from '../../../doctor/finding';
import type { AuditReport } from '../../../keys/audit/audit-report';
import { WRITING_MODES } from '../../../reencryption/report/run-report';
import type { Session } from '../../load/session';
import { EXIT_CODES } from '../../terminal/command-error';
import type { CommandResult } from '../../terminal/output';
import { table } from '../../terminal/table';

import { time, wholeNumber } from '../common-options';
import type { ChooseWork, CommandWork } from '../common-options';

/** Names the last entry of the audit log, to be noted out of the database's reach. */
export async function auditHead({ fieldEncryption }: Session): Promise<CommandResult> {
  const head = await fieldEncryption.audit.head();
  return { document: { head }, text: head ?? 'No entries.' };
}

/** Lists entries of the audit log. */
export async function auditList(
  { fieldEncryption }: Session,
  range: AuditRange,
): Promise<CommandResult> {
  const entries = await fieldEncryption.audit.list(range);
  return {
    document: { entries },
    text: entries.length === 0 ? 'No entries.' : entriesTable(entries),
  };
}

function entriesTable(entries: readonly AuditEntry[]): string {
  return table(
    ['SEQ', 'TIME', 'OPERATION', 'KEY', 'STATE', 'ID', 'ACTOR', 'DETAILS'],
    entries.map((entry) => [
      String(entry.seq),
      // To the second.
      entry.time.replace(/\.\d{3}Z$/, 'Z'),
      entry.outcome === 'done' ? entry.operation : `${entry.operation} (${entry.outcome})`,
      keyOf(entry),
      entry.keyState ?? '',
      entry.keyPurpose === 'approvals' ? '' : (entry.keyId ?? ''),
      entry.actor,
      detailsOf(entry),
    ]),
  );
}

function keyOf({ keyName, keyPurpose, keyVersion, operation }: AuditEntry): string {
  if (keyName === null) return '';
  const purpose = String(keyPurpose);
  // A request, with whoever signed it or asked for it.
  if (purpose === 'approval') {
    return `${operation === 'approve' ? 'signature' : 'request'} by ${keyName}`;
  }
  if (operation === 'incident') return `${purpose} ${keyName}`.trim();
  // The name of a mark, such as that of an erasure, is the kind of its scope.
  const isMark = purpose === 'erasure' || purpose === 'hold';
  const name = keyPurpose === 'data' ? keyName : isMark ? `${purpose} of ${keyName}` : purpose;
  return `${name} v${String(keyVersion)}`;
}

function detailsOf({ reference, counts }: AuditEntry): string {
  const numbers = Object.entries(counts).map(([name, count]) => `${name}=${String(count)}`);
  return [...(reference === null ? [] : [reference]), ...numbers].join(' ');
}

/** What is wrong with an entry. */
export const PROBLEMS: Readonly<Record<AuditProblem, string>> = {
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

/** Verifies the audit log, and the key table against it. A broken log is exit code 1. */
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

/** What is done to keys; runs over rows are beside it. */
const KEY_OPERATIONS: Readonly<Record<Exclude<AuditOperation, `data ${string}`>, true>> = {
  ...{ create: true, announce: true, activate: true, rotate: true, deactivate: true },
  ...{ suspend: true, resume: true, revoke: true, destroy: true, rewrap: true, adopt: true },
  ...{ backup: true, restore: true, drill: true, acceptEpoch: true, sign: true },
  ...{ shred: true, cancelShred: true, hold: true, release: true, allScopes: true, maintain: true },
  ...{ 'access list': true, approvals: true, approve: true, attempts: true },
  ...{ incident: true, acknowledge: true },
};

function operation(name: string): string {
  const names = [...Object.keys(KEY_OPERATIONS), ...WRITING_MODES.map((mode) => `data ${mode}`)];
  if (names.includes(name)) return name;
  throw new InvalidArgumentError(`It must be one of: ${names.join(', ')}.`);
}

const OUTCOMES: Readonly<Record<AuditOutcome, true>> = {
  ...{ started: true, done: true, failed: true },
  ...{ interrupted: true, denied: true, approved: true },
};

function outcome(name: string): string {
  if (name in OUTCOMES) return name;
  throw new InvalidArgumentError(`It must be one of: ${Object.keys(OUTCOMES).join(', ')}.`);
}

/** Adds the commands on the audit log. */
export function addAudit(program: Command, choose: ChooseWork): void {
  const audit = program.command('audit').description('what was done to the keys, by whom');
  audit
    .command('list')
    .description('list the newest entries of the audit log')
    .option('--after <seq>', 'list the entries that follow this one instead', wholeNumber)
    .option('--last, --limit <n>', 'at most so many', wholeNumber, 100)
    .option('--since <time>', 'only entries from 2026-11-01 or 2026-11-01T12:00Z on', time)
    .option('--operation <name>', "only those of one, such as 'data reencrypt'", operation)
    .option('--outcome <name>', 'only those of one, such as denied or approved', outcome)
    .option('--actor <start>', 'only those whose actor begins so')
    .action((range: AuditRange) => {
      choose((session) => auditList(session, range));
    });
  audit
    .command('verify')
    .description('prove that the audit log is whole and the key table agrees with it')
    .option('--expect-head <head>', 'head that was noted before: it must still be in the log')
    .action((options: { readonly expectHead?: string }) => {
      choose((session) => auditVerify(session, options));
    });
  audit
    .command('head')
    .description('name the last entry, to be noted elsewhere')
    .action(() => {
      choose(auditHead);
    });
}
