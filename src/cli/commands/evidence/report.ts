import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { counted, grouped } from '../../../doctor/finding';
import { RENDERINGS, REPORT_FORMATS } from '../../../evidence/renderings/renderings';
import type { ReportFormat, Rendering } from '../../../evidence/renderings/renderings';
import type { EvidenceReport } from '../../../evidence/report';
import type { Session } from '../../load/session';
import { CommandError, EXIT_CODES } from '../../terminal/command-error';
import { makeFolder, readText } from '../../terminal/named-file';

import type { ChooseOffline, ChooseWork, CommandWork } from '../common-options';

import { addReportVerify } from './report-verify';

interface ReportFlags {
  readonly format?: readonly ReportFormat[];
  readonly output?: string;
  readonly check?: boolean;
  readonly samples?: number;
  readonly since?: string;
}

/** Collects the report, and writes its forms to a folder with a signed note, or one of them to stdout. */
function report({ format, output, check = false, samples, since }: ReportFlags): CommandWork {
  return async (session) => {
    const { fieldEncryption } = session;
    if (output !== undefined) makeFolder(output);
    const options = {
      ...(samples === undefined ? {} : { samples }),
      ...(since === undefined ? {} : { since: readText(since) }),
    };
    const { report: collected, files } =
      output === undefined
        ? { report: await fieldEncryption.report(options), files: [] }
        : await fieldEncryption.writeEvidence(output, {
            ...options,
            ...(format && { formats: format }),
          });
    const shown = output === undefined ? await onlyForm(session, collected, format) : undefined;
    const failed = check && collected.violations.length > 0;
    return {
      document: output === undefined ? collected : { files, violations: collected.violations },
      text: shown ?? [...summary(collected), ...files.map((file) => `Wrote ${file}.`)].join('\n'),
      exitCode: failed ? EXIT_CODES.failed : EXIT_CODES.done,
    };
  };
}

/** Renders the form that was asked for; undefined for none, which is a summary. */
async function onlyForm(
  session: Session,
  collected: EvidenceReport,
  formats: readonly ReportFormat[] = [],
): Promise<string | undefined> {
  const [format] = formats;
  if (format === undefined) return undefined;
  const parts: string[] = [];
  for await (const part of rendered(session, collected, format)) parts.push(part);
  return parts.join('').trimEnd();
}

function rendered(
  { fieldEncryption }: Session,
  collected: EvidenceReport,
  format: ReportFormat,
): ReturnType<Rendering['render']> {
  const { render }: Rendering = RENDERINGS[format];
  return render(collected, (range) => fieldEncryption.audit.list(range));
}

function summary({ columns, keys, notChecked, rules, time, violations }: EvidenceReport): string[] {
  const values = columns.reduce((sum, { rows, nullRows }) => sum + rows - nullRows, 0);
  return [
    `At ${time}: ${counted(columns.length, 'encrypted column')} with ${grouped(values)} values, ` +
      `${counted(keys.length, 'key')}, ${counted(rules.length, 'rule')} applied.`,
    ...violations.flatMap(({ severity, rule, controls, subject, message, remedy }) => [
      `${severity.padEnd(6)} ${rule}: ${subject}: ${message}`,
      `       ${remedy} (${controls.join(', ')})`,
    ]),
    violations.length === 0 ? 'No rule is broken.' : counted(violations.length, 'violation') + '.',
    `Not checked: ${notChecked.map(({ subject }) => subject).join('; ')}.`,
  ];
}

function isFormat(text: string): text is ReportFormat {
  return Object.hasOwn(RENDERINGS, text);
}

function formats(text: string, before: readonly ReportFormat[] = []): readonly ReportFormat[] {
  if (isFormat(text)) return [...before, text];
  throw new InvalidArgumentError(`It must be one of: ${REPORT_FORMATS.join(', ')}.`);
}

function samplesOf(text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isInteger(value) && value >= 0 && value <= 1000) return value;
  throw new InvalidArgumentError('It must be a whole number up to 1000.');
}

/** Adds the command that collects the evidence. */
export function addReport(
  program: Command,
  choose: ChooseWork,
  chooseOffline: ChooseOffline,
): void {
  const command = program.command('report');
  addReportVerify(command, chooseOffline);
  command
    .description('collect the evidence on columns, keys and logs, and apply the rules to it')
    .option(
      '--format <format>',
      `${REPORT_FORMATS.join(', ')}; may be given several times`,
      formats,
    )
    .option(
      '--output <folder>',
      'write files to this folder, in all formats or those that are given',
    )
    .option('--since <note>', 'an earlier report.note, from whose audit log this one must go on')
    .option('--check', 'exit with 1 if a rule is broken, for CI')
    .option('--samples <n>', 'values to read of each column, 20 by default', samplesOf)
    .action((flags: ReportFlags) => {
      const { format = [], output } = flags;
      if (output === undefined && format.length > 1) throw severalForms();
      choose(report(flags));
    });
}

function severalForms(): CommandError {
  return new CommandError(
    'ERR_USAGE',
    'Only one --format can be written to the terminal.',
    'Name a folder with --output, too.',
  );
}
