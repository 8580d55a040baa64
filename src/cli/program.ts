import { Command, CommanderError } from 'commander';

import { addAudit } from './commands/audit';
import { DRY_RUN } from './commands/common-options';
import type { ChooseWork, CommandWork, DryRunOption } from './commands/common-options';
import { addData } from './commands/data';
import { init } from './commands/init';
import { addKeys } from './commands/keys';
import { addSchema } from './commands/schema';
import { doctor, status } from './commands/status';

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
  const program = programFor((work) => {
    chosen = work;
  });
  if (args.includes('--json')) program.configureOutput({ writeErr: () => undefined });
  program.parse(args, { from: 'user' });
  if (chosen === undefined) throw new CommanderError(2, 'commander.noCommand', 'no command given');
  return { options: program.opts(), work: chosen };
}

function programFor(choose: ChooseWork): Command {
  const program = new Command('field-encryption')
    .description(
      'Keys and re-encryption of a TypeORM DataSource that went through withFieldEncryption.',
    )
    .option('-d, --data-source <path>', 'module that exports the DataSource')
    .option('--json', 'write one JSON document to stdout')
    .option('--verbose', 'show where errors come from')
    // Inherited by the commands added below, so that all errors are thrown, and shown in one place.
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true });
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
  for (const add of [addKeys, addAudit, addData, addSchema]) add(program, choose);
  return program;
}
