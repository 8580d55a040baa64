import { counted } from '../../doctor/finding';
import type { AnchorDiscrepancy } from '../../keys/anchor/anchor-discrepancy';
import type { KeyInfo } from '../../keys/record/key-info';
import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { confirm } from '../terminal/prompt';
import { table } from '../terminal/table';

import { dateText } from './keys-list';

/** Options of `keys adopt`. */
export interface KeysAdoptOptions {
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/**
 * Shows the keys that somebody without the KMS could have made, and adopts them if the operator agrees.
 *
 * @param ids - the keys to adopt; empty for all of them.
 */
export async function keysAdopt(
  { fieldEncryption }: Session,
  ids: readonly string[],
  { dryRun, yes }: KeysAdoptOptions,
): Promise<CommandResult> {
  const all = await fieldEncryption.keys.unauthenticated();
  const keys = ids.length === 0 ? all : all.filter(({ id }) => ids.includes(id));
  if (dryRun || (ids.length === 0 && all.length === 0)) {
    return { document: { dryRun, keys, adopted: [] }, text: preview(keys) };
  }
  if (yes && ids.length === 0) throw noIds();
  await confirm(yes, {
    warning:
      `${keysTable(keys)}\nWhoever made one of these keys can read what is encrypted under it. ` +
      'Adopt only keys that you know from a backup or the audit sink.',
    word: 'adopt',
  });
  const named = ids.length === 0 ? keys.map(({ id }) => id) : ids;
  const { adopted, current } = await fieldEncryption.keys.adopt({ ids: named });
  return {
    document: { dryRun, keys, adopted, current },
    text: [
      `Adopted ${counted(adopted.length, 'key')}; ${String(current.length)} needed no adoption.`,
      ...(adopted.length > 0 ? [keysTable(adopted)] : []),
    ].join('\n'),
  };
}

function preview(keys: readonly KeyInfo[]): string {
  if (keys.length === 0) return 'No key needs adoption.';
  return [
    `${counted(keys.length, 'key')} that somebody without the KMS could have made:`,
    keysTable(keys),
    'Nothing was changed.',
  ].join('\n');
}

function keysTable(keys: readonly KeyInfo[]): string {
  return table(
    ['KEY', 'PURPOSE', 'STATE', 'ID', 'KMS', 'CREATED'],
    keys.map(({ name, purpose, version, state, id, kms, createdAt }) => [
      `${name} v${String(version)}`,
      purpose,
      state,
      id,
      kms,
      dateText(createdAt),
    ]),
  );
}

/** Refuses a blanket yes: somebody may add a key between the dry run and the adoption. */
function noIds(): CommandError {
  return new CommandError(
    'ERR_USAGE',
    '--yes adopts the keys that are named, and none is. Nothing was changed.',
    'Look at them with --dry-run, and name the ids of those that are yours.',
  );
}

/** Options of `keys accept-epoch`. */
export interface AcceptEpochOptions {
  readonly reason: string;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** Accepts an older key table as the newest, after showing what this gives up. */
export async function keysAcceptEpoch(
  { fieldEncryption }: Session,
  epoch: number,
  { reason, dryRun, yes }: AcceptEpochOptions,
): Promise<CommandResult> {
  const { keys } = fieldEncryption;
  const planned = await keys.acceptEpoch(epoch, { reason, dryRun: true });
  if (!dryRun) {
    await confirm(yes, {
      warning:
        `${linesOf(planned.differences).join('\n')}\nThis takes the key table as it is, and gives up what is ` +
        `known of it up to epoch ${String(epoch)}: keys that were revoked or destroyed since are so no more.`,
      word: String(epoch),
    });
  }
  const report = dryRun ? planned : await keys.acceptEpoch(epoch, { reason });
  return {
    document: { dryRun, ...report },
    text: [
      ...linesOf(report.differences),
      dryRun
        ? `Would seal ${counted(report.keys, 'key')} at epoch ${String(report.epoch)}. Nothing was changed.`
        : `Sealed ${counted(report.keys, 'key')} at epoch ${String(report.epoch)}. Revoke and destroy again ` +
          'what was revoked and destroyed since.',
    ].join('\n'),
  };
}

function linesOf(differences: readonly AnchorDiscrepancy[]): string[] {
  if (differences.length === 0) return ['Nothing newer is known here than what the table has.'];
  return [
    table(
      ['KEY', 'WAS', 'EPOCH', 'IS NOW', 'EPOCH'],
      differences.map(({ keyId, anchored, found }) => [
        keyId,
        anchored.state,
        String(anchored.epoch),
        found?.state ?? 'missing',
        found === null ? '' : String(found.epoch),
      ]),
    ),
  ];
}
