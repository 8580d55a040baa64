import { counted, grouped } from '../../doctor/finding';
import type { RestoredKey } from '../../keys/backup/restore-backup';
import type { DrillReport } from '../../reencryption/coverage/drill';
import { missingOwnTables } from '../../typeorm/tables/own-tables';
import { openerOf } from '../load/backup-access';
import type { OpenerOptions } from '../load/backup-access';
import type { Session } from '../load/session';
import { EXIT_CODES } from '../terminal/command-error';
import type { CommandResult } from '../terminal/output';
import { readText } from '../terminal/named-file';
import { confirm } from '../terminal/prompt';
import { table } from '../terminal/table';

import type { CommandWork } from './common-options';
import { createTables } from './init';

/** Options of `keys restore`. */
export interface KeysRestoreOptions {
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly adopt: boolean;
}

/** Restores the missing keys of a backup to the key table, which is created if it is lost. */
export async function keysRestore(
  session: Session,
  file: string,
  { dryRun, yes, adopt, ...options }: OpenerOptions & KeysRestoreOptions,
): Promise<CommandResult> {
  const { fieldEncryption } = session;
  const backup = readText(file);
  const opener = await openerOf(options);
  if (!dryRun && (await missingOwnTables(session.dataSource)).length > 0) {
    await createTables(session);
  }
  if (adopt && !dryRun) {
    const { restored } = await fieldEncryption.keys.restore(backup, opener, { dryRun: true });
    await confirm(yes, {
      warning: `${keysTable(restored)}\nWhoever made these keys can read what is encrypted under them.`,
      word: 'adopt',
    });
  }
  const report = await fieldEncryption.keys.restore(backup, opener, { dryRun, adopt });
  const { authenticated, backupId, createdAt, restored, present, destroyed } = report;
  return {
    document: { dryRun, ...report },
    text: [
      `Backup ${backupId} of ${createdAt.toISOString()}: ${counted(restored.length, 'key')} ` +
        `${dryRun ? 'would be restored' : 'restored'}, ${String(present.length)} present already.`,
      ...(authenticated ? [] : ['Somebody without its KMS could have made it; see --adopt.']),
      ...(destroyed.length > 0
        ? [`${counted(destroyed.length, 'key')} destroyed since, and left so.`]
        : []),
      ...(restored.length > 0 ? [keysTable(restored)] : []),
      ...(dryRun ? ['Nothing was changed.'] : []),
    ].join('\n'),
  };
}

function keysTable(keys: readonly RestoredKey[]): string {
  return table(
    ['KEY', 'PURPOSE', 'STATE', 'ID'],
    keys.map(({ name, purpose, version, state, id }) => [
      `${name} v${String(version)}`,
      purpose,
      state,
      id,
    ]),
  );
}

function drillTable(results: DrillReport['results']): string {
  return table(
    ['PROPERTY', 'KEY', 'ROWS', 'SAMPLES READ', 'TOKENS', 'RESULT'],
    results.map(({ entity, property, keyId, rows, read, tokens, wrongTokens, failure }) => [
      `${entity}.${property}`,
      keyId,
      grouped(rows),
      grouped(read),
      grouped(tokens),
      failure ?? (wrongTokens === 0 ? 'reads' : counted(wrongTokens, 'wrong token')),
    ]),
  );
}

function drillVerdict({ ok, results }: DrillReport): string {
  if (!ok) return 'It does not read everything. Make a new backup.';
  return results.length === 0
    ? 'The backup opens. It was tried on no rows, as there are none that its keys alone read.'
    : 'It reads.';
}

/** Proves that a backup reads the rows of this database; exit code 1 if it does not. */
export async function keysDrill(
  { fieldEncryption }: Session,
  file: string,
  options: OpenerOptions,
): ReturnType<CommandWork> {
  const backup = readText(file);
  const report = await fieldEncryption.keys.drill(backup, await openerOf(options));
  const { backupId, createdAt, restored, results, leftOut, ok } = report;
  return {
    document: report,
    text: [
      `Backup ${backupId} of ${createdAt.toISOString()} holds ${counted(restored.length, 'key')}.`,
      ...(results.length === 0 ? [] : [drillTable(results)]),
      ...leftOut.map(
        ({ entity, property }) =>
          `${entity}.${property} was left out: the keys of scopes are in no backup of keys.`,
      ),
      drillVerdict(report),
    ].join('\n'),
    exitCode: ok ? EXIT_CODES.done : EXIT_CODES.failed,
  };
}
