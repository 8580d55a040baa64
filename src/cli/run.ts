import type { CommandWork } from './commands/common-options';
import { withSession } from './load/session';
import { parse } from './program';
import type { OfflineCommand, ParsedCommand } from './program';
import { CommandError, EXIT_CODES } from './terminal/command-error';
import type { ExitCode } from './terminal/command-error';
import { errorReport, openOutput, withoutCredentials } from './terminal/output';
import type { Output } from './terminal/output';

/** Runs one command line and returns its exit code; never throws. */
export async function run(args: readonly string[]): Promise<ExitCode> {
  const output = openOutput(args.includes('--json'));
  try {
    const command = await parse(args);
    return command === undefined ? EXIT_CODES.done : await execute(command, output);
  } catch (error) {
    const report = errorReport(error);
    output.error(report, args.includes('--verbose') ? stackOf(error) : undefined);
    return report.exitCode;
  } finally {
    output.close();
  }
}

async function execute(command: ParsedCommand | OfflineCommand, output: Output): Promise<ExitCode> {
  const result = 'offline' in command ? command.offline() : await executeConnected(command, output);
  output.result(result);
  return result.exitCode ?? EXIT_CODES.done;
}

async function executeConnected(
  { options, work }: ParsedCommand,
  output: Output,
): ReturnType<CommandWork> {
  const { dataSource: path, verbose = false, requester } = options;
  if (path === undefined || path === '') {
    throw new CommandError(
      'ERR_USAGE',
      'The option -d <path> is missing: the module that exports your DataSource.',
      'Give it, or set it once: FIELD_ENCRYPTION_DATA_SOURCE in the environment, ' +
        '"field-encryption": { "dataSource": "..." } in package.json, or field-encryption.config.js.',
    );
  }
  return withSession({ path, verbose, requester }, output, work);
}

function stackOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = error.cause instanceof Error ? `\ncaused by ${String(error.cause.stack)}` : '';
  return withoutCredentials(`${String(error.stack)}${cause}`);
}
