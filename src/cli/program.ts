import { Command, CommanderError, InvalidArgumentError } from 'commander';
import type { CommandResult } from './output';
import { dataReencrypt } from './commands/data-reencrypt';
import { init } from './commands/init';
import { keysList } from './commands/keys-list';
import { keysRotate } from './commands/keys-rotate';
import { status } from './commands/status';
import type { ExitCode } from './exit-code';
import type { Session } from './session';

/** What a command does once the DataSource is connected. */
export type CommandWork = (
  session: Session,
) => Promise<CommandResult & { readonly exitCode?: ExitCode }>;

/** Options that every command takes. */
export interface GlobalOptions {
  readonly dataSource?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** The command that was asked for. */
export interface ParsedCommand {
  readonly options: GlobalOptions;
  readonly work: CommandWork;
}

const DRY_RUN = ['--dry-run', 'show what would change and change nothing'] as const;

interface DryRunOption {
  readonly dryRun?: boolean;
}

/**
 * Reads the command line.
 *
 * @throws CommanderError for wrong usage, and after showing help
 */
export function parse(args: readonly string[]): ParsedCommand {
  let chosen: CommandWork | undefined;
  const program = new Command('field-encryption')
    .description(
      'Keys and re-encryption of a TypeORM DataSource that went through withFieldEncryption.',
    )
    .option('-d, --data-source <path>', 'module that exports the DataSource')
    .option('--json', 'write one JSON document to stdout')
    .option('--verbose', 'show where errors come from');
  settle(program);
  const choose = (work: CommandWork): void => {
    chosen = work;
  };

  program
    .command('init')
    .description('create the key table if it is missing, and the first keys')
    .option(...DRY_RUN)
    .action(({ dryRun = false }: DryRunOption) => {
      choose((session) => init(session, { dryRun }));
    });
  program
    .command('status')
    .description('show keys, encrypted columns, rows for each key version, and what is due')
    .action(() => {
      choose(status);
    });
  addKeys(program, choose);
  addData(program, choose);

  forEachCommand(program, settle);
  if (args.includes('--json')) program.configureOutput({ writeErr: () => undefined });
  program.parse(args, { from: 'user' });
  if (chosen === undefined) throw new CommanderError(2, 'commander.noCommand', 'no command given');
  return { options: program.opts(), work: chosen };
}

function addKeys(program: Command, choose: (work: CommandWork) => void): void {
  const keys = program.command('keys').description('life of the data keys');
  keys
    .command('list')
    .description('list every data key')
    .action(() => {
      choose(keysList);
    });
  keys
    .command('rotate')
    .description('make a new version of a data key the active one')
    .argument('[name]', 'name of the data key', 'default')
    .option(...DRY_RUN)
    .action((name: string, { dryRun = false }: DryRunOption) => {
      choose((session) => keysRotate(session, name, { dryRun }));
    });
}

function addData(program: Command, choose: (work: CommandWork) => void): void {
  const data = program.command('data').description('work on the encrypted rows');
  data
    .command('reencrypt')
    .description('move every row to the active data key, online')
    .option(...DRY_RUN)
    .option('--entity <name...>', 'only these entities')
    .option('--batch-size <rows>', 'rows in a page (default: 500)', wholeNumber)
    .action((options: DryRunOption & { entity?: string[]; batchSize?: number }) => {
      const { dryRun = false, entity = [], batchSize } = options;
      choose((session) => dataReencrypt(session, { dryRun, entity, batchSize }));
    });
}

/** Errors are thrown and shown in one place, also those of subcommands. */
function settle(command: Command): void {
  command
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true });
}

function forEachCommand(command: Command, work: (command: Command) => unknown): void {
  for (const child of command.commands) {
    work(child);
    forEachCommand(child, work);
  }
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('It must be a whole number from 1.');
}
