import { Command, CommanderError, Option } from 'commander';

import { ownManifest } from '../doctor/checks/packages';

import { addApprovals } from './commands/approvals/approvals';
import { addAccess } from './commands/logs/access';
import { addAudit } from './commands/logs/audit';
import { DRY_RUN } from './commands/common-options';
import type {
  ChooseOffline,
  ChooseWork,
  CommandWork,
  DryRunOption,
  OfflineWork,
} from './commands/common-options';
import { addCompletion } from './completion';
import { addData } from './commands/data';
import { init } from './commands/init';
import { addIncident } from './commands/incident/incident';
import { addKeys } from './commands/keys';
import { addReport } from './commands/evidence/report';
import { addSchema } from './commands/schema';
import { addStatus } from './commands/status';
import { readConfiguration } from './load/configuration';
import { CommandError } from './terminal/command-error';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly dataSource?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly requester?: string;
}

/** The command that was asked for. */
export interface ParsedCommand {
  readonly options: GlobalOptions;
  readonly work: CommandWork;
}

/** One that takes no DataSource. */
export interface OfflineCommand {
  readonly offline: OfflineWork;
}

/**
 * Reads the command line, and the environment and the configuration for what it leaves out.
 *
 * @returns `undefined` if help, the version or a completion was asked for, which is shown then.
 * @throws {@link CommandError} for wrong usage
 */
export async function parse(
  args: readonly string[],
): Promise<ParsedCommand | OfflineCommand | undefined> {
  let chosen: CommandWork | undefined;
  let offline: OfflineWork | undefined;
  const program = programFor(
    (work) => {
      chosen = work;
    },
    (work) => {
      offline = work;
    },
  );
  if (args.includes('--json')) program.configureOutput({ writeErr: () => undefined });
  let asked = program;
  for (const command of [program, ...program.commands]) {
    command.hook('preSubcommand', (_, subcommand) => {
      asked = subcommand;
    });
  }
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw wrongUsage(error, asked);
  }
  if (offline !== undefined) return { offline };
  if (chosen === undefined) return undefined;
  return { options: program.opts(), work: chosen };
}

function programFor(choose: ChooseWork, chooseOffline: ChooseOffline): Command {
  const program = new Command('field-encryption')
    .description(
      'Keys and re-encryption of a TypeORM DataSource that went through withFieldEncryption.',
    )
    .addOption(
      new Option('-d, --data-source <path>', 'module that exports the DataSource').env(
        'FIELD_ENCRYPTION_DATA_SOURCE',
      ),
    )
    .option('--json', 'write one JSON document to stdout')
    .option('--verbose', 'show where errors come from, and what TypeORM logs')
    .addOption(
      new Option(
        '--requester <id>',
        'who you are among the approvers, for what needs approval',
      ).env('FIELD_ENCRYPTION_REQUESTER'),
    )
    .version(ownManifest().version)
    // Inherited by the commands added below, so that all errors are thrown, and shown in one place.
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .configureHelp({ showGlobalOptions: true })
    .hook('preAction', configure);
  program
    .command('init')
    .description('create the tables of the library if they are missing, and the first keys')
    .option(...DRY_RUN)
    .action(({ dryRun = false }: DryRunOption) => {
      choose((session) => init(session, { dryRun }));
    });
  const groups = [
    ...[addStatus, addKeys, addAudit, addAccess, addApprovals, addIncident, addData, addSchema],
  ];
  for (const add of groups) add(program, choose);
  addReport(program, choose, chooseOffline);
  addCompletion(program);
  return program;
}

/** Gives a command, and those above it, the options of the configuration that nothing else has set. */
async function configure(program: Command, command: Command): Promise<void> {
  if (command.name() === 'completion') return;
  const configuration = await readConfiguration();
  for (const each of [program, command]) {
    for (const name of each.options.map((option) => option.attributeName())) {
      const isSet = ![undefined, 'default'].includes(each.getOptionValueSource(name));
      if (isSet || configuration[name] === undefined) continue;
      each.setOptionValueWithSource(name, configuration[name], 'config');
    }
  }
}

function wrongUsage({ code, message }: CommanderError, asked: Command): CommandError {
  const names = asked.parent === null ? [] : [asked.name()];
  for (let above = asked.parent; above !== null; above = above.parent) names.unshift(above.name());
  return new CommandError(
    'ERR_USAGE',
    // Commander has shown the help already.
    code === 'commander.help' ? 'There is no command given.' : message.replace(/^error: /, ''),
    `See ${names.length === 0 ? asked.name() : names.join(' ')} --help.`,
  );
}
