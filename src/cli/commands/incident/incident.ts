import { Option } from 'commander';
import type { Command } from 'commander';

import { counted } from '../../../doctor/finding';
import type { IncidentOptions, PlannedStep } from '../../../incident/response';
import type { IncidentProgress, IncidentTarget } from '../../../incidents';
import { defined } from '../../../typeorm/declare/option-rules';
import type { Session } from '../../load/session';
import { EXIT_CODES } from '../../terminal/command-error';
import { makeFolder } from '../../terminal/named-file';
import { interruptibly, progressDisplay } from '../../terminal/progress-display';
import { isConfirmed, requireTerminal } from '../../terminal/prompt';
import { commandLine } from '../command-line';
import { days, minutes, reason, YES } from '../common-options';
import type { ChooseWork, CommandWork } from '../common-options';

import { drillText, statusText } from './incident-text';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

interface WorkFlags {
  readonly yes?: boolean;
  readonly grace?: number;
}

interface StartFlags extends WorkFlags {
  readonly key?: string;
  readonly kek?: string;
  readonly branch?: string;
  readonly reason: string;
  readonly acknowledgeWithin?: number;
  readonly drill?: boolean;
}

/** What each step does, for the question before it. */
const STEP_TEXTS: Readonly<Record<PlannedStep['step'], string>> = {
  replace: 'Replaces the compromised keys: new data is protected with new ones from now on.',
  reencrypt: 'Moves the rows under them to the new keys, while the application runs.',
  verify: 'Reads the rows of the entities that they protected, and their tokens.',
  destroy:
    'Destroys the compromised keys by their policies. Rows in backups need them, and so do values elsewhere: those of ' +
    'value(purpose), and of entities that this DataSource does not have.',
  close: 'Closes the incident.',
};

/** Returns what the work on an incident asks before each step. */
function asking({ output }: Session, yes: boolean): NonNullable<IncidentOptions['confirm']> {
  return async ({ incident, step, keys, rows }) => {
    const total = rows.reduce((sum, each) => sum + each.rows, 0);
    const about = `${counted(keys.length, 'key')}, ${counted(total, 'value')} under compromised ones`;
    const warning = `Incident ${incident}, ${step}: ${about}. ${STEP_TEXTS[step]}`;
    if (!yes) return isConfirmed({ warning, word: step });
    output.progress(warning);
    return true;
  };
}

function incidentWork(
  { yes = false, grace }: WorkFlags,
  work: (session: Session, options: IncidentOptions) => Promise<IncidentProgress>,
): CommandWork {
  return async (session) => {
    const { output } = session;
    if (!yes) requireTerminal('An incident asks before each step, and there is no terminal.');
    const display = progressDisplay(output);
    const options = {
      ...defined({ graceMs: grace === undefined ? undefined : grace * MINUTE_MS }),
      confirm: asking(session, yes),
      onProgress: display.update.bind(display),
    };
    const interrupted = (): void => {
      output.progress('Interrupted: finishing the page under way.');
    };
    try {
      const run = (signal: AbortSignal) => work(session, { ...options, signal });
      const { incident, wait } = await interruptibly(run, interrupted);
      const isClosed = wait === null;
      const next = isClosed
        ? ['report', incident.id, '--output', 'incident']
        : ['resume', incident.id];
      const lines = [statusText(incident), ...(isClosed ? [] : [wait.reason])];
      return {
        document: { incident, wait },
        text: [...lines, commandLine(session, 'incident', ...next)].join('\n'),
        exitCode: isClosed ? EXIT_CODES.done : EXIT_CODES.failed,
      };
    } finally {
      display.stop();
    }
  };
}

function start({ key, kek, branch, drill, acknowledgeWithin, ...flags }: StartFlags): CommandWork {
  const kind = key !== undefined ? 'key' : kek !== undefined ? 'kek' : 'branch';
  const target: IncidentTarget = {
    ...{ kind, target: key ?? kek ?? branch ?? '', reason: flags.reason },
    ...defined({
      acknowledgeMs:
        acknowledgeWithin === undefined ? undefined : Math.round(acknowledgeWithin * DAY_MS),
    }),
  };
  if (drill !== true) {
    return incidentWork(flags, ({ fieldEncryption }, options) =>
      fieldEncryption.incidents.start(target, options),
    );
  }
  return async ({ fieldEncryption }) => {
    const tried = await fieldEncryption.incidents.drill(target);
    return { document: tried, text: drillText(tried) };
  };
}

/** Adds the commands on incidents. */
export function addIncident(program: Command, choose: ChooseWork): void {
  const incident = program
    .command('incident')
    .description('respond to compromised keys, step by step');
  const GRACE = ['--grace <minutes>', 'as for keys destroy', minutes] as const;
  incident
    .command('start')
    .description('open an incident, and go through its steps; exits with 1 where it has to wait')
    .addOption(new Option('--key <id>', 'the key').conflicts('kek').conflicts('branch'))
    .addOption(new Option('--kek <kek>', 'all that this KEK has wrapped').conflicts('branch'))
    .option(
      '--branch <name>',
      'the branch key of this name, such as `branch`, and all keys of scopes under it',
    )
    .requiredOption('--reason <text>', 'for the audit log', reason)
    .option('--acknowledge-within <days>', 'how long dependants are waited for, 7 by default', days)
    .option('--drill', 'try it in memory, and say how long it would take')
    .option(...GRACE)
    .option(...YES)
    .action((flags: StartFlags, command: Command) => {
      const { key, kek, branch } = flags;
      if ((key ?? kek ?? branch) === undefined)
        command.error('error: give --key, --kek or --branch');
      choose(start(flags));
    });
  incident
    .command('resume <id>')
    .description('go on with an incident where it stopped')
    .option(...GRACE)
    .option(...YES)
    .action((id: string, flags: WorkFlags) => {
      choose(
        incidentWork(flags, ({ fieldEncryption }, options) =>
          fieldEncryption.incidents.resume(id, options),
        ),
      );
    });
  addRecords(incident, choose);
}

function addRecords(incident: Command, choose: ChooseWork): void {
  incident
    .command('status [id]')
    .description('show one incident, or all')
    .action((id: string | undefined) => {
      choose(async ({ fieldEncryption }) => {
        const incidents = await fieldEncryption.incidents.status(id);
        const text = incidents.map(statusText).join('\n\n') || 'There was none.';
        return { document: { incidents }, text };
      });
    });
  incident
    .command('report <id>')
    .description('write the report of an incident with a signed note; `report verify` verifies it')
    .requiredOption('--output <folder>', 'a folder for its files')
    .action((id: string, { output }: { readonly output: string }) => {
      choose(async ({ fieldEncryption }) => {
        makeFolder(output);
        const files = await fieldEncryption.incidents.report(id, output);
        return { document: { files }, text: files.map((file) => `Wrote ${file}.`).join('\n') };
      });
    });
  incident
    .command('acknowledge <id>')
    .description('say that a dependant has done its part')
    .requiredOption('--as <name>', 'one of the option dependants')
    .action((id: string, { as }: { readonly as: string }) => {
      choose(async ({ fieldEncryption }) => {
        await fieldEncryption.incidents.acknowledge(id, as);
        return { document: { incident: id, as }, text: `${as} has acknowledged ${id}.` };
      });
    });
}
