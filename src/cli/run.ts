import { CommanderError } from 'commander';

import { withSession } from './load/session';
import { parse } from './program';
import type { ParsedCommand } from './program';
import { CommandError, EXIT_CODES } from './terminal/command-error';
import type { ExitCode } from './terminal/command-error';
import { errorReport, openOutput, withoutCredentials } from './terminal/output';
import type { Output } from './terminal/output';

/** Runs one command line and returns its exit code; never throws. */
export async function run(args: readonly string[]): Promise<ExitCode> {
  const output = openOutput(args.includes('--json'));
  try {
    const command = parsed(args);
    return command === undefined ? EXIT_CODES.done : await execute(command, output);
  } catch (error) {
    const report = errorReport(error);
    output.error(report, args.includes('--verbose') ? stackOf(error) : undefined);
    return report.exitCode;
  } finally {
    output.close();
  }
}

async function execute({ options, work }: ParsedCommand, output: Output): Promise<ExitCode> {
  if (options.dataSource === undefined) {
    throw usage('The option -d <path> is missing: the module that exports your DataSource.');
  }
  const result = await withSession(options.dataSource, output, work);
  output.result(result);
  return result.exitCode ?? EXIT_CODES.done;
}

/** Parses the command line; `undefined` if help was asked for and shown. */
function parsed(args: readonly string[]): ParsedCommand | undefined {
  try {
    return parse(args);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') return undefined;
    // Commander has shown the help already.
    if (error.code === 'commander.help') throw usage('There is no command given.');
    throw usage(error.message.replace(/^error: /, ''));
  }
}

function usage(message: string): CommandError {
  return new CommandError('ERR_USAGE', message, 'See field-encryption --help.');
}

function stackOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = error.cause instanceof Error ? `\ncaused by ${String(error.cause.stack)}` : '';
  return withoutCredentials(`${String(error.stack)}${cause}`);
}
