import { counted } from '../../../doctor/finding';
import { FieldEncryptionError, KeyNotFoundError } from '../../../errors';
import { isDataKeyId, keyPrefix } from '../../../format/data-key-id';
import type { ErasureReceipt } from '../../../keys/scopes/erasure/erasure-receipt';
import type {
  ReplayReport,
  ReplayStep,
  ReplayTrust,
} from '../../../keys/scopes/erasure/erasure-replay';
import type { Session } from '../../load/session';
import { CommandError, EXIT_CODES } from '../../terminal/command-error';
import type { CommandResult } from '../../terminal/output';
import { confirm } from '../../terminal/prompt';

import { commandLine } from '../command-line';
import type { CommandWork } from '../common-options';
import { ReceiptFile, receiptsIn } from './receipt-file';

/** Options of `keys shred --replay`. */
export interface ReplayOptions {
  /** File to write the receipts of this time to; it must not exist. */
  readonly receipt?: string;
  /** Takes receipts that nothing proves any more on the operator's word. */
  readonly acceptUnproven: boolean;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** A receipt that was given, and what is done about its scope. */
interface Replayed {
  readonly receipt: ErasureReceipt;
  step: ReplayStep;
}

/** Erases the scopes of some receipts again, after a restore of the database. Exit code 1 if one was left alone. */
export async function keysReplayShred(
  session: Session,
  files: readonly string[],
  { receipt: file, acceptUnproven, dryRun, yes }: ReplayOptions,
): ReturnType<CommandWork> {
  const given: Replayed[] = [];
  for (const each of files) given.push(...(await stepsOf(session, each, { acceptUnproven })));
  if (dryRun) return { ...result(given, { dryRun, receipts: [] }), exitCode: exitCodeOf(given) };
  await confirm(yes, {
    warning:
      `This erases all that belongs to ${counted(new Set(given.map(titleOf)).size, 'scope')}, for good and at once: ` +
      'no other process may use the database.',
    word: 'replay',
  });
  const receipts: ErasureReceipt[] = [];
  const receiptFile = file === undefined ? undefined : new ReceiptFile(file);
  try {
    // One by one: what was erased before a failure has its receipt.
    for (const replayed of given) {
      const report = await session.fieldEncryption.keys.replayShred([replayed.receipt], {
        acceptUnproven,
      });
      receipts.push(...report.erased);
      replayed.step = stepIn(report);
    }
  } finally {
    receiptFile?.write(receipts);
  }
  const outcome = result(given, { dryRun, receipts, file });
  return { ...outcome, exitCode: exitCodeOf(given) };
}

/** @throws {@link CommandError} that names a file with a receipt that does not prove itself */
async function stepsOf(session: Session, file: string, trust: ReplayTrust): Promise<Replayed[]> {
  const { installation } = session;
  const replayed: Replayed[] = [];
  for (const receipt of receiptsIn(file)) {
    try {
      const step = await installation.keys.scopeOperations.replayStep(receipt, trust);
      replayed.push({ receipt, step });
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      throw new CommandError(
        'ERR_USAGE',
        `${file} is refused (${error.code}): ${error.message}`,
        `Nothing was erased. ${await remedyOf(session, receipt)}`,
        { exitCode: EXIT_CODES.failed, cause: error },
      );
    }
  }
  return replayed;
}

function stepIn({ held, stillErased, unproven }: ReplayReport): ReplayStep {
  if (held.length > 0) return 'held';
  if (unproven.length > 0) return 'unproven';
  return stillErased.length > 0 ? 'erased' : 'due';
}

/** Tells a receipt that was edited from a branch key that does not open: leaving it out would leave its scope readable. */
async function remedyOf(session: Session, { branchId }: ErasureReceipt): Promise<string> {
  const edited = 'Give the file as it was written when the scope was erased.';
  if (!isDataKeyId(branchId)) return edited;
  const { keys } = session.installation;
  try {
    await keys.load([keyPrefix(branchId)], undefined);
    keys.keyByPrefix(keyPrefix(branchId));
    return edited;
  } catch (error) {
    if (error instanceof KeyNotFoundError) {
      return (
        `Its branch key ${branchId} is not in the key table. Restore it from a backup of the keys, and replay again:\n  ` +
        commandLine(session, 'keys', 'restore', '<backup>')
      );
    }
    if (!(error instanceof FieldEncryptionError)) throw error;
    return `Its branch key ${branchId} does not open. Use the KMS, or the passphrase, that the keys were made under.`;
  }
}

function exitCodeOf(given: readonly Replayed[]): 0 | 1 {
  const leaves = given.some(({ step }) => step === 'held' || step === 'unproven');
  return leaves ? EXIT_CODES.failed : EXIT_CODES.done;
}

function result(
  given: readonly Replayed[],
  {
    dryRun,
    receipts,
    file,
  }: { dryRun: boolean; receipts: readonly ErasureReceipt[]; file?: string | undefined },
): CommandResult {
  const each = byScope(given);
  const scopes = each.map(({ receipt: { kind, scope }, step }) => ({
    ...{ kind, scope },
    outcome: OUTCOMES[step],
  }));
  return {
    document: { dryRun, scopes, receipts },
    text: [
      ...each.map((replayed) => SENTENCES[replayed.step](titleOf(replayed), dryRun)),
      ...(dryRun ? ['Nothing was changed.'] : receiptText(receipts, file)),
    ].join('\n'),
  };
}

function titleOf({ receipt: { kind, scope } }: Replayed): string {
  return `${kind} "${scope}"`;
}

/** Returns what was done about each scope once: several receipts may be about one, and the first of them erases it. */
function byScope(given: readonly Replayed[]): Replayed[] {
  const outcomes = new Map<string, Replayed>();
  for (const replayed of given) {
    const key = `${replayed.step === 'due' ? 'erased' : replayed.step} ${titleOf(replayed)}`;
    if (!outcomes.has(key) || replayed.step === 'due') outcomes.set(key, replayed);
  }
  return [...outcomes.values()];
}

const OUTCOMES: Readonly<Record<ReplayStep, string>> = {
  due: 'erased',
  erased: 'stillErased',
  held: 'held',
  unproven: 'unproven',
};

const SENTENCES: Readonly<Record<ReplayStep, (title: string, dryRun: boolean) => string>> = {
  due: (title, dryRun) => `${dryRun ? 'Would erase' : 'Erased'} ${title} again.`,
  erased: (title) => `${title} is still erased.`,
  held: (title) =>
    `${title} is under a legal hold, and was not erased. Replay its receipt again once the hold is released.`,
  unproven: (title) =>
    `Nothing was done about ${title}: the branch key of its receipt is not in this database, or was destroyed, and ` +
    'nothing else proves the receipt. Restore that key, or take the receipt on your own word: --accept-unproven.',
};

function receiptText(receipts: readonly ErasureReceipt[], file: string | undefined): string[] {
  if (receipts.length === 0) return [];
  return [
    'Keep the new receipts beside the old ones, whose entries this audit log may not have:',
    file ?? JSON.stringify(receipts),
  ];
}
