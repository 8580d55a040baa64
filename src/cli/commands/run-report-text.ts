import { counted, grouped } from '../../doctor/finding';
import type { ColumnStatus, ScopeCoverage } from '../../reencryption/coverage/status';
import { failureRemedies } from '../../reencryption/report/failure-remedies';
import type {
  RowFailure,
  RunPlan,
  RunReport,
  TablePlan,
  WritingMode,
} from '../../reencryption/report/run-report';
import { EXIT_CODES } from '../terminal/command-error';
import type { ExitCode } from '../terminal/command-error';

/** Describes the plan of a run for people. */
function describePlan({ tables, estimatedSeconds }: RunPlan, isPartial: boolean): string {
  return [
    ...tables.flatMap((table) => describeTable(table, isPartial)),
    `Estimated time: ${String(estimatedSeconds)} s, by a sample of rows.`,
  ].join('\n');
}

function describeTable(
  { entity, rows, pending, columns, where, first }: TablePlan,
  isPartial: boolean,
): string[] {
  return [
    `${entity}: ${grouped(pending)} of ${counted(rows, 'row')} to do`,
    ...(where === '' ? [] : [`  only those with ${where}`]),
    ...(first === '' ? [] : [`  first those with ${first}`]),
    ...(isPartial ? ['  in the whole table:'] : []),
    ...columns.map(describeColumn),
  ];
}

function describeColumn({
  property,
  keys,
  nullRows,
  cleartextRows,
  unboundRows,
  scopes,
}: ColumnStatus): string {
  const parts = [
    ...(scopes === null ? [] : scopeParts(scopes)),
    ...keys.map(
      ({ keyId, name, version, rows }) =>
        `${grouped(rows)} under ${name === undefined ? `unknown key ${keyId}` : `${name} v${String(version)}`}`,
    ),
    ...(cleartextRows > 0 ? [`${grouped(cleartextRows)} not encrypted`] : []),
    ...(unboundRows > 0 && scopes === null
      ? [`${grouped(unboundRows)} not bound to their row`]
      : []),
    ...(nullRows > 0 ? [`${grouped(nullRows)} NULL`] : []),
  ];
  return `  ${property}: ${parts.length === 0 ? 'no rows' : parts.join(', ')}`;
}

/** Describes the rows of a column by the state of the keys of their scopes. */
export function scopeParts({
  kind,
  activeRows,
  olderRows,
  toBeErasedRows,
  erasedRows,
}: ScopeCoverage): string[] {
  return [
    `${grouped(activeRows)} under the active key of their ${kind}`,
    ...(olderRows > 0 ? [`${grouped(olderRows)} under an older one`] : []),
    ...(toBeErasedRows > 0 ? [`${grouped(toBeErasedRows)} of these to be erased`] : []),
    ...(erasedRows > 0 ? [`${grouped(erasedRows)} erased`] : []),
  ];
}

/** What happened to the rows that a run changed. */
const DONE: Readonly<Record<WritingMode, string>> = {
  encrypt: 'encrypted',
  reencrypt: 're-encrypted',
  reindex: 'indexed again',
  decrypt: 'decrypted',
};

function verdict({ scanned, failed }: RunReport, seconds: number): string {
  const read = `${counted(scanned, 'row')} read in ${seconds.toFixed(1)} s`;
  return failed === 0
    ? `${read}, all values and tokens right.`
    : `${read}, ${grouped(failed)} of them with a value that cannot be read or a wrong token.`;
}

function summary(
  { scanned, changed, skipped, doneBefore, failed, conflicts }: RunReport,
  done: string,
  dryRun: boolean,
  seconds: number,
): string {
  // The time of a dry run would read as a second estimate.
  const time = dryRun ? '' : ` in ${seconds.toFixed(1)} s`;
  return (
    `${counted(changed, 'row')} ${dryRun ? 'would be ' : ''}${done}${time}: ` +
    `${grouped(scanned - doneBefore)} read, ${grouped(skipped - doneBefore)} needed nothing, ` +
    `${grouped(failed)} failed, ${grouped(conflicts)} in conflict.`
  );
}

/** Returns the exit code of a run: whether all rows are done. */
export function exitCodeOf({ aborted, failed, conflicts, remaining }: RunReport): ExitCode {
  if (aborted) return EXIT_CODES.interrupted;
  const isDone = failed === 0 && conflicts === 0 && (remaining ?? 0) === 0;
  return isDone ? EXIT_CODES.done : EXIT_CODES.failed;
}

/** What a report does not say about its run. */
interface ReportContext {
  readonly dryRun: boolean;
  readonly seconds: number;
  /** Whether `where` has narrowed the run down. */
  readonly isPartial: boolean;
}

/** Describes the result of a run for people. */
export function describeReport(
  report: RunReport,
  { dryRun, seconds, isPartial }: ReportContext,
): string {
  const { mode, conflicts, erased, toBeErased, failed, failures, aborted, resumed, doneBefore } =
    report;
  return [
    ...(report.plan === undefined ? [] : [describePlan(report.plan, isPartial)]),
    ...(resumed ? ['Went on where an unfinished run had stopped.'] : []),
    mode === 'verify' ? verdict(report, seconds) : summary(report, DONE[mode], dryRun, seconds),
    ...(erased > 0
      ? [`${counted(erased, 'row')} of erased scopes, whose values nobody can read.`]
      : []),
    ...(toBeErased > 0
      ? [
          `${counted(toBeErased, 'row')} of scopes whose erasure is requested, which are not moved: see keys scopes.`,
        ]
      : []),
    ...(doneBefore > 0 ? [doneBeforeText(report)] : []),
    ...(dryRun ? ['Nothing was changed.'] : []),
    ...failures.map(describeFailure),
    ...(failures.length < failed ? [`... and ${grouped(failed - failures.length)} more.`] : []),
    ...(failed > 0 && mode !== 'verify' && !dryRun
      ? ['Rows that failed were left as they are.']
      : []),
    ...failureRemedies(failures),
    ...(conflicts > 0 ? ['Rows in conflict kept changing meanwhile. Run the command again.'] : []),
    ...(dryRun ? [] : leftText(report, isPartial)),
    ...(aborted
      ? ['Interrupted. What is done stays done; run the command again for the rest.']
      : []),
  ].join('\n');
}

function leftText({ remaining, failed, conflicts }: RunReport, isPartial: boolean): string[] {
  if (remaining === null) return [];
  if (remaining === 0) {
    return [
      `${isPartial ? 'None of these rows is' : 'No row is'} left, by a count in the database.`,
    ];
  }
  const left = `${counted(remaining, 'row')} ${remaining === 1 ? 'is' : 'are'} left, by a count in the database`;
  return failed + conflicts > 0
    ? [`${left}.`]
    : [`${left}: they were written meanwhile. Run the command again.`];
}

/** Rows of scopes that are erased, or to be, have a line of their own and count here, too. */
function doneBeforeText({ doneBefore, erased, toBeErased }: RunReport): string {
  const among = erased + toBeErased > 0 ? ', those of such scopes among them' : '';
  return `${counted(doneBefore, erased + toBeErased > 0 ? 'row' : 'other row')} had nothing left to do${among}.`;
}

function describeFailure({
  entity,
  property,
  primaryKey,
  code,
  conflictsWith,
}: RowFailure): string {
  const other = conflictsWith === undefined ? '' : ` with ${keyText(conflictsWith)}`;
  return `  ${entity} ${keyText(primaryKey)}: ${property}: ${code}${other}`;
}

function keyText(key: readonly unknown[]): string {
  return key.map(String).join(', ');
}
