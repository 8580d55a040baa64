import { Option } from 'commander';
import type { Command } from 'commander';

import { DRY_RUN, minutes, YES } from '../common-options';
import type { ChooseWork } from '../common-options';

import { keysHold } from './scope-upkeep';
import { keysCancelShred, keysShred } from './shred';

const SCOPE = ['<scope>', 'id of the scope, such as that of a tenant'] as const;
const KIND = [
  '--kind <kind>',
  'kind of the scope, such as tenant; needed where there are several',
] as const;
const REASON = ['--reason <text>', 'why, for the audit log; at most 64 characters'] as const;

interface Flags {
  readonly kind?: string;
  readonly reason: string;
  readonly dryRun?: boolean;
}

/** The options that `keys shred` alone takes. */
interface ShredFlags extends Flags {
  readonly delay?: number;
  readonly grace?: number;
  readonly receipt?: string;
  readonly cancel?: boolean;
  readonly yes?: boolean;
}

/** Adds the commands on the keys of one scope. */
export function addScopes(keys: Command, choose: ChooseWork): void {
  keys
    .command('shred')
    .description('erase what belongs to a scope by erasing its keys, in two steps')
    .argument(...SCOPE)
    .option(...KIND)
    .requiredOption(...REASON)
    .option('--delay <minutes>', 'time in which the erasure can be cancelled', minutes)
    .option(
      '--grace <minutes>',
      'time in which a process may still write; keyCache.maxAgeMs by default',
      minutes,
    )
    .option('--receipt <file>', 'file to write the receipt to; it must not exist')
    .addOption(
      new Option('--cancel', 'cancel an erasure that was requested')
        .conflicts('delay')
        .conflicts('grace')
        .conflicts('receipt'),
    )
    .option(...DRY_RUN)
    .option(...YES)
    .action((scope: string, { cancel, dryRun = false, yes = false, ...options }: ShredFlags) => {
      choose((session) =>
        cancel === true
          ? keysCancelShred(session, scope, { ...options, dryRun })
          : keysShred(session, scope, { ...options, dryRun, yes }),
      );
    });
  addHold(keys.command('hold'), { releases: false }, choose).description(
    'put a scope under a legal hold: it is not erased until it is released',
  );
  addHold(keys.command('release'), { releases: true }, choose).description(
    'end the legal hold of a scope',
  );
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
