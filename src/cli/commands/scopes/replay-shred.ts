import { readFileSync } from 'node:fs';

import { counted } from '../../../doctor/finding';
import type { ErasureReceipt } from '../../../keys/scopes/scope-erasure';
import type { Session } from '../../load/session';
import { CommandError } from '../../terminal/command-error';
import type { CommandResult } from '../../terminal/output';
import { confirm } from '../../terminal/prompt';

/** Erases the scopes of some receipts again, after a restore of the database. */
export async function keysReplayShred(
  { fieldEncryption }: Session,
  files: readonly string[],
  { dryRun, yes }: { readonly dryRun: boolean; readonly yes: boolean },
): Promise<CommandResult> {
  const receipts = files.map(readReceipt);
  const named = counted(receipts.length, 'scope');
  if (dryRun) {
    return {
      document: { dryRun, receipts },
      text: `Would erase ${named} again, unless they still are erased. Nothing was changed.`,
    };
  }
  await confirm(yes, {
    warning: `This erases all that belongs to ${named}, for good and at once: no other process may use the database.`,
    word: 'replay',
  });
  const replayed = await fieldEncryption.keys.replayShred(receipts);
  return {
    document: { dryRun, replayed },
    text: [
      ...replayed.map(({ kind, scope }) => `Erased ${kind} "${scope}" again.`),
      `${counted(receipts.length - replayed.length, 'scope')} had stayed erased.`,
    ].join('\n'),
  };
}

/** @throws {@link CommandError} for a file that is no receipt */
function readReceipt(file: string): ErasureReceipt {
  const receipt = parsed(readFileSync(file, 'utf8'));
  const { application, kind, scope, reason } = receipt;
  if ([application, kind, scope, reason].every((each) => typeof each === 'string')) {
    return receipt as ErasureReceipt;
  }
  throw new CommandError(
    'ERR_USAGE',
    `${file} is not the receipt of an erasure.`,
    'Give the files that keys shred --receipt wrote.',
  );
}

function parsed(text: string): Partial<Record<keyof ErasureReceipt, unknown>> {
  try {
    return Object(JSON.parse(text)) as Partial<Record<keyof ErasureReceipt, unknown>>;
  } catch {
    return {};
  }
}
