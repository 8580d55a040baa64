import { Command, CommanderError } from 'commander';
import { addAudit } from './commands/audit';
import { DRY_RUN } from './commands/common-options';
import type { ChooseWork, CommandWork, DryRunOption } from './commands/common-options';
import { doctor, status } from './commands/status';
import { init } from './commands/init';
import { addData } from './commands/data';
import { addKeys } from './commands/keys';
import { addSchema } from './commands/schema';

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
  const choose: ChooseWork = (work) => {
    chosen = work;
  };

  program
    .command('init')
    .description('create the tables of the library if they are missing, and the first keys')
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
  program
    .command('doctor')
    .description('look for what is wrong or weak, and say what to do; changes nothing')
    .action(() => {
      choose(doctor);
    });
  addKeys(program, choose);
  addAudit(program, choose);
  addData(program, choose);
  addSchema(program, choose);

  forEachCommand(program, settle);
  if (args.includes('--json')) program.configureOutput({ writeErr: () => undefined });
  program.parse(args, { from: 'user' });
  if (chosen === undefined) throw new CommanderError(2, 'commander.noCommand', 'no command given');
  return { options: program.opts(), work: chosen };
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
