import type { Command } from 'commander';

import type { AccessReport } from '../../../access-trail';
import type { AccessEntry, AccessRange } from '../../../access/access-entry';
import { grouped } from '../../../doctor/finding';
import { EXIT_CODES } from '../../terminal/command-error';
import { table } from '../../terminal/table';

import { PROBLEMS } from './audit';
import { collected, time, wholeNumber } from '../common-options';
import type { ChooseWork, CommandWork } from '../common-options';

/** Lists entries of the access log, and those that are not as they were written, which is exit code 1. */
function accessList(range: AccessRange): CommandWork {
  return async ({ fieldEncryption }) => {
    const report = await fieldEncryption.accessLog.list(range);
    return {
      document: report,
      text: linesOf(report, range).join('\n'),
      exitCode: report.ok ? EXIT_CODES.done : EXIT_CODES.failed,
    };
  };
}

function linesOf({ entries, verified, broken }: AccessReport, { row }: AccessRange): string[] {
  // Who asks for a row must not take other reads of it for none.
  const ofRows =
    row === undefined ? '' : ' Only values of sealed properties are logged with their row.';
  return [
    entries.length === 0 ? `No entries.${ofRows}` : entriesTable(entries),
    `${grouped(verified)} ${verified === 1 ? 'entry' : 'entries'} of that time verified.`,
    ...broken.map(
      ({ writer, seq, problem }) => `Entry ${String(seq)} of ${writer} ${PROBLEMS[problem]}.`,
    ),
  ];
}

function entriesTable(entries: readonly AccessEntry[]): string {
  return table(
    ['TIME', 'ACTOR', 'OPERATION', 'COLUMN', 'VALUES', 'ROW', 'REASON'],
    entries.map(({ actor, operation, entity, property, values, primaryKey, ...entry }) => [
      entry.time.replace(':00.000Z', 'Z'),
      actor ?? '(others)',
      operation,
      `${entity}.${property}`,
      String(values),
      primaryKey?.join(', ') ?? '',
      entry.reason ?? '',
    ]),
  );
}

/** Adds the commands on the access log. */
export function addAccess(program: Command, choose: ChooseWork): void {
  const access = program.command('access').description('who has used which values');
  access
    .command('list')
    .description('list the newest entries of the access log, and prove that they are whole')
    .option('--actor <start>', 'only those whose actor begins so')
    .option('--column <property>', 'only those of one property, such as Patient.ssn')
    .option(
      '--row <key>',
      'only values revealed of this row; once for each column of its primary key',
      collected,
    )
    .option('--since <time>', 'from 2026-11-01 or 2026-11-01T12:00Z on, instead of a day ago', time)
    .option('--last, --limit <n>', 'at most so many', wholeNumber, 100)
    .action((range: AccessRange) => {
      choose(accessList(range));
    });
}
