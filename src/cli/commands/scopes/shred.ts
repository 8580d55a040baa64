import { counted, grouped } from '../../../doctor/finding';
import { isMark } from '../../../keys/record/scope-key-record';
import type { ErasureReceipt } from '../../../keys/scopes/erasure/erasure-receipt';
import type { Erasure } from '../../../keys/scopes/erasure/scope-erasure';
import type { Session } from '../../load/session';
import { EXIT_CODES } from '../../terminal/command-error';
import type { CommandResult } from '../../terminal/output';
import { confirm } from '../../terminal/prompt';
import { table } from '../../terminal/table';
import { scopeRows } from '../../../reencryption/coverage/scope-rows';
import { endOfWait } from '../../../keys/store/watched-key-store';
import type { ScopeKeyRecord } from '../../../keys/record/scope-key-record';

import type { CommandWork } from '../common-options';
import { commandLine } from '../command-line';
import { aboutScope } from './about-scope';
import { namedScope } from './named-scope';
import type { NamedScope } from './named-scope';
import { ReceiptFile } from './receipt-file';
import { LOST_WRITES, nextStep, warningOf } from './shred-step';
import type { ShredStep } from './shred-step';

/** Options of `keys shred`. */
export interface ShredCommandOptions {
  readonly kind?: string;
  readonly reason: string;
  /** In minutes, like the other one. */
  readonly delay?: number;
  readonly grace?: number;
  /** File to write the receipt to; it must not exist. */
  readonly receipt?: string;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

const MINUTE_MS = 60_000;

/** Takes the next step of erasing what belongs to a scope: requests it, or erases its keys. */
export async function keysShred(
  session: Session,
  id: string,
  options: ShredCommandOptions,
): ReturnType<CommandWork> {
  const scope = await namedScope(session, id, options.kind);
  const step = await aboutScope(session, scope, () => nextStep(session, scope, options));
  if (options.dryRun) return shredPlan(session, scope, step);
  await confirm(options.yes, { warning: warningOf(scope, step), word: id });
  const { delay, grace, reason, receipt: file } = options;
  const receiptFile = file === undefined ? undefined : new ReceiptFile(file);
  const { marks } = session.installation.keys.scopes;
  let erasure: Erasure;
  let before: ScopeKeyRecord | undefined;
  try {
    erasure = await aboutScope(session, scope, async () => {
      before = await marks.find(scope, 'erasure');
      return session.fieldEncryption.keys.shred({
        scope: { [scope.kind]: scope.id },
        reason,
        ...(delay === undefined ? {} : { delayMs: delay * MINUTE_MS }),
        ...(grace === undefined ? {} : { graceMs: grace * MINUTE_MS }),
      });
    });
  } catch (error) {
    receiptFile?.remove();
    throw error;
  }
  if (erasure.state === 'requested') {
    receiptFile?.remove();
    const mark = before ?? (await marks.requireMarked(scope, 'erasure'));
    const dates = { since: mark.since, erasableFrom: erasure.erasableFrom };
    return requested(session, scope, options, { ...dates, isNew: before === undefined });
  }
  receiptFile?.write(erasure.receipt);
  return erased(scope, erasure.receipt, { file, isNew: before?.state !== 'erased' });
}

/** Cancels an erasure that was requested. */
export async function keysCancelShred(
  session: Session,
  id: string,
  { kind, reason, dryRun }: Pick<ShredCommandOptions, 'kind' | 'reason' | 'dryRun'>,
): Promise<CommandResult> {
  const scope = await namedScope(session, id, kind);
  await aboutScope(session, scope, async () => {
    if (dryRun) await session.installation.keys.scopes.marks.requireMarked(scope, 'erasure');
    else await session.fieldEncryption.keys.cancelShred({ scope: { [scope.kind]: id }, reason });
  });
  return {
    document: { dryRun, kind: scope.kind, scope: id, state: 'cancelled' },
    text: dryRun
      ? `Would cancel the erasure of ${scope.title}. Nothing was changed.`
      : `Cancelled the erasure of ${scope.title}: it can be written for again.`,
  };
}

/** Says what the next step would be; one that would be refused is exit code 1. */
async function shredPlan(
  session: Session,
  scope: NamedScope,
  { mark, isLast, isShort, ...step }: ShredStep,
): ReturnType<CommandWork> {
  const { kind, id, title } = scope;
  const { installation } = session;
  const { marks, store } = installation.keys.scopes;
  const isErased = mark?.state === 'erased';
  if (!isErased) {
    const rows = scopeRows(installation);
    await aboutScope(session, scope, () => rows.requireErasable({ kind, id }));
  }
  const keys = (await store.findAll({ kind, id })).filter((record) => !isMark(record)).length;
  const held = (await marks.findRecorded({ kind, id }, 'hold')) !== undefined;
  const erasableFrom = mark === undefined || isErased ? null : step.erasableFrom;
  const would = held
    ? `Would refuse: ${title} is under a legal hold.`
    : mark === undefined
      ? `Would ${isLast ? 'erase' : 'request the erasure of'} ${title}, which has ${counted(keys, 'key')}${isLast ? ', at once' : ''}.`
      : isErased
        ? `Would give the receipt of ${title} again, which was erased at ${mark.since.toISOString()}.`
        : `Would erase ${title}, requested at ${mark.since.toISOString()}, from ${String(erasableFrom?.toISOString())} on.`;
  const state = mark === undefined ? null : isErased ? 'erased' : 'requested';
  return {
    document: { dryRun: true, kind, scope: id, keys, held, state, erasableFrom },
    text: [
      would,
      ...(isShort && !held && !isErased ? [LOST_WRITES] : []),
      'Nothing was changed.',
    ].join(' '),
    exitCode: held ? EXIT_CODES.failed : EXIT_CODES.done,
  };
}

/** A request of an erasure. */
interface Request {
  readonly since: Date;
  readonly erasableFrom: Date;
  /** Whether this call has made it. */
  readonly isNew: boolean;
}

function requested(
  session: Session,
  { kind, id, title }: NamedScope,
  { delay, grace, reason, receipt, yes }: ShredCommandOptions,
  { since, erasableFrom, isNew }: Request,
): CommandResult {
  const named = [id, '--kind', kind, '--reason'];
  const again = [
    ...(delay === undefined ? [] : ['--delay', String(delay)]),
    ...(grace === undefined ? [] : ['--grace', String(grace)]),
    ...(receipt === undefined ? [] : ['--receipt', receipt]),
    // A script has no terminal to confirm on, the second time either.
    ...(yes ? ['--yes'] : []),
  ];
  return {
    document: {
      dryRun: false,
      kind,
      scope: id,
      state: 'requested',
      requestedAt: since,
      erasableFrom,
    },
    text: [
      isNew
        ? `The erasure of ${title} is requested. Nothing is erased yet.`
        : `Not yet: the erasure of ${title} was requested at ${since.toISOString()}, and nothing is erased so far.`,
      writersText(session, { since, erasableFrom }),
      `From ${erasableFrom.toISOString()}, by the clock of the database, this erases it:`,
      `  ${commandLine(session, 'keys', 'shred', ...named, reason, ...again)}`,
      ...(receipt === undefined
        ? [
            'With --receipt <file> it writes the receipt to a file, and else to stdout, as one line.',
          ]
        : []),
      'Until then, this cancels it:',
      `  ${commandLine(session, 'keys', 'shred', ...named, 'why', '--cancel')}`,
    ].join('\n'),
  };
}

function writersText(
  { installation }: Session,
  { since, erasableFrom }: Omit<Request, 'isNew'>,
): string {
  const noticed = endOfWait(since, installation.keys.scopeOperations.maxAgeMs);
  return (
    `A process that runs may write for it until it notices, at the latest until ${noticed.toISOString()}; what it ` +
    (erasableFrom < noticed
      ? 'writes after the erasure is lost, and the receipt does not count it. Stop other processes before you erase.'
      : 'writes is erased as well.')
  );
}

function erased(
  { kind, id, title }: NamedScope,
  receipt: ErasureReceipt,
  { file, isNew }: { readonly file: string | undefined; readonly isNew: boolean },
): CommandResult {
  const { keyIds, columns, erasedAt } = receipt;
  return {
    document: { dryRun: false, kind, scope: id, state: 'erased', receipt },
    text: [
      isNew
        ? `Erased ${counted(keyIds.length, 'key')} of ${title}: nobody can read its values in this database any more.`
        : `${title} was erased at ${erasedAt}, with ${counted(keyIds.length, 'key')}. This is the receipt of that time.`,
      ...(columns.length === 0 ? [] : [columnsTable(columns)]),
      ...(file === undefined
        ? [
            'Keep the receipt: after a restore of the database it is needed.',
            JSON.stringify(receipt),
          ]
        : [`Receipt: ${file}. Keep it: after a restore of the database it is needed.`]),
    ].join('\n'),
  };
}

function columnsTable(columns: ErasureReceipt['columns']): string {
  return table(
    ['PROPERTY', 'ROWS'],
    columns.map(({ entity, property, rows }) => [`${entity}.${property}`, grouped(rows)]),
  );
}
