import type { AnchorDiscrepancy } from '../../keys/anchor/key-anchor';
import { confirm } from '../confirmation';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { counted } from '../../doctor/counted';
import { table } from '../table';

/** Options of the command. */
export interface AcceptEpochOptions {
  readonly reason: string;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** Takes an older key table for the newest, after showing what is given up with it. */
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
