import { readFileSync } from 'node:fs';
import { counted } from '../../doctor/counted';
import type { RestoredKey } from '../../keys/backup/restore-backup';
import { openerOf } from '../backup-access';
import type { OpenerOptions } from '../backup-access';
import { missingOwnTables } from '../../typeorm/own-tables';
import { confirm } from '../confirmation';
import { createTables } from '../create-tables';
import type { CommandResult } from '../output';
import type { Session } from '../session';
import { table } from '../table';

/** Options of `keys restore`. */
export interface KeysRestoreOptions {
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly adopt: boolean;
}

/** Puts the missing keys of a backup into the key table, which is created where it is lost. */
export async function keysRestore(
  session: Session,
  file: string,
  { dryRun, yes, adopt, ...options }: OpenerOptions & KeysRestoreOptions,
): Promise<CommandResult> {
  const { fieldEncryption } = session;
  const backup = readFileSync(file, 'utf8');
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
    ['KEY', 'PURPOSE', 'VERSION', 'STATE', 'ID'],
    keys.map(({ name, purpose, version, state, id }) => [
      name,
      purpose,
      String(version),
      state,
      id,
    ]),
  );
}
