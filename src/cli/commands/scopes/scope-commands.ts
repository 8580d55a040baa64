import { Option } from 'commander';
import type { Command } from 'commander';

import { DRY_RUN, minutes, reason as reasonOf, wholeNumber, YES } from '../common-options';
import type { ChooseWork, CommandWork } from '../common-options';

import { keysScopes } from './list-scopes';
import { keysReplayShred } from './replay-shred';
import { keysHold, keysReseal } from './scope-upkeep';
import { keysCancelShred, keysShred } from './shred';

const SCOPE = ['<scope>', 'id of the scope, such as that of a tenant'] as const;
const KIND = [
  '--kind <kind>',
  'kind of the scope, such as tenant; needed where there are several',
] as const;
const REASON = ['--reason <text>', 'why, for the audit log; 1 to 64 characters', reasonOf] as const;
const ACCEPT_UNPROVEN = [
  '--accept-unproven',
  'with --replay: take receipts whose branch key is gone on your own word',
] as const;

interface Flags {
  readonly kind?: string;
  readonly reason: string;
  readonly dryRun?: boolean;
}

/** The options that `keys shred` alone takes. */
interface ShredFlags extends Omit<Flags, 'reason'> {
  readonly reason?: string;
  readonly replay?: readonly string[];
  readonly acceptUnproven?: boolean;
  readonly delay?: number;
  readonly grace?: number;
  readonly receipt?: string;
  readonly cancel?: boolean;
  readonly yes?: boolean;
}

/** Adds the commands on the keys of one scope. */
export function addScopes(keys: Command, choose: ChooseWork): void {
  addShred(keys, choose);
  addHold(keys.command('hold'), { releases: false }, choose).description(
    'put a scope under a legal hold: it is not erased until it is released',
  );
  addHold(keys.command('release'), { releases: true }, choose).description(
    'end the legal hold of a scope',
  );
  keys
    .command('scopes')
    .description('list the scopes under a legal hold, and those to be erased')
    .option('--kind <kind>', 'only scopes of this kind')
    .option('--limit <count>', 'at most so many lines', wholeNumber, 100)
    .action(({ kind, limit }: { readonly kind?: string; readonly limit: number }) => {
      choose((session) => keysScopes(session, { kind, limit }));
    });
  keys
    .command('reseal')
    .description('seal the keys of scopes under the newest branch key')
    .option(...DRY_RUN)
    .action(({ dryRun = false }: Pick<Flags, 'dryRun'>) => {
      choose((session) => keysReseal(session, { dryRun }));
    });
}

function addShred(keys: Command, choose: ChooseWork): void {
  withSteps(keys.command('shred'))
    .addOption(
      new Option('--cancel', 'cancel an erasure that was requested')
        .conflicts('delay')
        .conflicts('grace')
        .conflicts('receipt'),
    )
    .addOption(
      new Option(
        '--replay <receipts...>',
        'after a restore of the database: erase the scopes of these receipts again',
      )
        .conflicts('kind')
        .conflicts('reason')
        .conflicts('delay')
        .conflicts('grace')
        .conflicts('cancel'),
    )
    .option(...ACCEPT_UNPROVEN)
    .option(...DRY_RUN)
    .option(...YES)
    .action((scope: string | undefined, flags: ShredFlags, command: Command) => {
      choose(shredWork(scope, flags, command));
    });
}

/** Adds what the two steps of an erasure take. */
function withSteps(command: Command): Command {
  return command
    .description('erase what belongs to a scope by erasing its keys, in two steps')
    .argument('[scope]', SCOPE[1])
    .option(...KIND)
    .option(
      REASON[0],
      'why, for the audit log and the receipt; 1 to 64 characters, and the same in both steps',
      reasonOf,
    )
    .option(
      '--delay <minutes>',
      'time in which the erasure can be cancelled; 0 by default. Above 0, half a minute is added',
      minutes,
    )
    .option(
      '--grace <minutes>',
      'time in which a process may still write for the scope, keyCache.maxAgeMs by default; with less, stop other ' +
        'processes first: what they write later is lost, and not in the receipt',
      minutes,
    )
    .option('--receipt <file>', 'file to write the receipt to; it must not exist');
}

/** Returns the work of `keys shred` in its three forms. */
function shredWork(
  scope: string | undefined,
  { acceptUnproven, cancel, dryRun = false, yes = false, reason, replay, ...options }: ShredFlags,
  command: Command,
): CommandWork {
  if (replay !== undefined) {
    const option = replay.find((file) => file.startsWith('-'));
    if (option !== undefined) command.error(`error: --replay takes files, and ${option} is none`);
    if (scope !== undefined)
      command.error("error: --replay takes receipts, and no argument 'scope'");
    const how = { ...options, acceptUnproven: acceptUnproven === true, dryRun, yes };
    return (session) => keysReplayShred(session, replay, how);
  }
  if (acceptUnproven === true) command.error('error: --accept-unproven needs --replay');
  if (scope === undefined) command.error("error: missing required argument 'scope'");
  if (reason === undefined) command.error(`error: required option '${REASON[0]}' not specified`);
  return cancel === true
    ? (session) => keysCancelShred(session, scope, { ...options, reason, dryRun })
    : (session) => keysShred(session, scope, { ...options, reason, dryRun, yes });
}

function addHold(
  command: Command,
  { releases }: { readonly releases: boolean },
  choose: ChooseWork,
): Command {
  return command
    .argument(...SCOPE)
    .option(...KIND)
    .requiredOption(...REASON)
    .option(...DRY_RUN)
    .action((scope: string, { dryRun = false, ...options }: Flags) => {
      choose((session) => keysHold(session, scope, { ...options, dryRun, releases }));
    });
}
