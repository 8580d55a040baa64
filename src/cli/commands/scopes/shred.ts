import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';

import { counted, grouped } from '../../../doctor/finding';
import type { Erasure, ErasureReceipt } from '../../../keys/scopes/scope-erasure';
import type { Session } from '../../load/session';
import type { CommandResult } from '../../terminal/output';
import { confirm } from '../../terminal/prompt';
import { table } from '../../terminal/table';

import { commandLine } from '../command-line';
import { namedScope } from './named-scope';
import type { NamedScope } from './named-scope';

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
): Promise<CommandResult> {
  const scope = await namedScope(session, id, options.kind);
  if (options.dryRun) return shredPlan(session, scope);
  await confirm(options.yes, {
    warning:
      `This erases all that belongs to ${scope.title}, for good: the first time it stops all writes for it, ` +
      'and when every process has noticed, it erases the keys.',
    word: id,
  });
  const { delay, grace, reason, receipt: file } = options;
  const receiptFile = file === undefined ? undefined : new ReceiptFile(file);
  let erasure: Erasure;
  try {
    erasure = await session.fieldEncryption.keys.shred({
      scope: { [scope.kind]: scope.id },
      reason,
      ...(delay === undefined ? {} : { delayMs: delay * MINUTE_MS }),
      ...(grace === undefined ? {} : { graceMs: grace * MINUTE_MS }),
    });
  } catch (error) {
    receiptFile?.remove();
    throw error;
  }
  if (erasure.state === 'requested') {
    receiptFile?.remove();
    return requested(session, scope, options, erasure.erasableFrom);
  }
  receiptFile?.write(erasure.receipt);
  return erased(scope, erasure.receipt, file);
}

/** Cancels an erasure that was requested. */
export async function keysCancelShred(
  session: Session,
  id: string,
  { kind, reason, dryRun }: Pick<ShredCommandOptions, 'kind' | 'reason' | 'dryRun'>,
): Promise<CommandResult> {
  const scope = await namedScope(session, id, kind);
  if (!dryRun) {
    await session.fieldEncryption.keys.cancelShred({ scope: { [scope.kind]: id }, reason });
  }
  return {
    document: { dryRun, kind: scope.kind, scope: id, state: 'cancelled' },
    text: dryRun
      ? `Would cancel the erasure of ${scope.title}. Nothing was changed.`
      : `Cancelled the erasure of ${scope.title}: it can be written for again.`,
  };
}

async function shredPlan({ installation }: Session, scope: NamedScope): Promise<CommandResult> {
  const { marks } = installation.keys.scopes;
  const held = (await marks.find(scope, 'hold')) !== undefined;
  const mark = await marks.find(scope, 'erasure');
  const { kind, id, keys, title } = scope;
  const would = held
    ? `Would refuse: ${title} is under a legal hold.`
    : mark === undefined
      ? `Would request the erasure of ${title}, which has ${counted(keys, 'key')}.`
      : mark.state === 'erased'
        ? `Would refuse: ${title} was erased at ${mark.since.toISOString()}.`
        : `Would erase ${title}, requested at ${mark.since.toISOString()}, once every process has noticed.`;
  const state = mark === undefined ? null : mark.state === 'erased' ? 'erased' : 'requested';
  return {
    document: { dryRun: true, kind, scope: id, keys, held, state },
    text: `${would} Nothing was changed.`,
  };
}

function requested(
  session: Session,
  { kind, id, title }: NamedScope,
  { delay, grace, reason, receipt }: ShredCommandOptions,
  erasableFrom: Date,
): CommandResult {
  const named = [id, '--kind', kind, '--reason'];
  const again = [
    ...(delay === undefined ? [] : ['--delay', String(delay)]),
    ...(grace === undefined ? [] : ['--grace', String(grace)]),
    ...(receipt === undefined ? [] : ['--receipt', receipt]),
  ];
  return {
    document: { dryRun: false, kind, scope: id, state: 'requested', erasableFrom },
    text: [
      `The erasure of ${title} is requested: nothing is written for it any more.`,
      `From ${erasableFrom.toISOString()}, by the clock of the database, this erases it:`,
      `  ${commandLine(session, 'keys', 'shred', ...named, reason, ...again)}`,
      'Until then, this cancels it:',
      `  ${commandLine(session, 'keys', 'shred', ...named, 'why', '--cancel')}`,
    ].join('\n'),
  };
}

function erased(
  { kind, id, title }: NamedScope,
  receipt: ErasureReceipt,
  file: string | undefined,
): CommandResult {
  const { keyIds, columns } = receipt;
  return {
    document: { dryRun: false, kind, scope: id, state: 'erased', receipt },
    text: [
      `Erased ${counted(keyIds.length, 'key')} of ${title}: nobody can read its values in this database any more.`,
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

/** The file of a receipt, which is made before anything is erased: then it is too late to find a full disk. */
class ReceiptFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    closeSync(openSync(path, 'wx', 0o600));
  }

  write(receipt: ErasureReceipt): void {
    writeFileSync(this.#path, `${JSON.stringify(receipt, null, 2)}\n`);
  }

  remove(): void {
    unlinkSync(this.#path);
  }
}
