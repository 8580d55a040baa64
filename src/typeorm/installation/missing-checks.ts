import type { QueryRunner } from 'typeorm';

import { withConnection } from '../connection/lent-connection';
import type { EncryptedColumn } from '../metadata/encrypted-column';

import type { Installation } from './installation';

/**
 * Returns the encrypted columns whose existing table lacks the CHECK constraint against cleartext: it was
 * created before the constraint was the default, or not from the entity.
 */
export async function columnsWithoutCheck(
  { dataSource, columns: { byEntity } }: Installation,
  connection?: QueryRunner,
): Promise<EncryptedColumn[]> {
  return withConnection(dataSource, connection, async (runner) => {
    const lacking: EncryptedColumn[] = [];
    for (const [metadata, { columns }] of byEntity) {
      if (metadata.tableType === 'entity-child') continue;
      const checked = columns.filter(({ check }) => check !== undefined);
      const table = checked.length > 0 ? await runner.getTable(metadata.tablePath) : undefined;
      if (table === undefined) continue;
      const names = table.checks.map(({ name }) => name);
      lacking.push(...checked.filter(({ check }) => !names.includes(check?.constraint.name)));
    }
    return lacking;
  });
}

/**
 * Aligns the CHECK constraints in the metadata with those in the database before a schema builder compares
 * the two. It would add them to existing tables, which SQLite does by a rebuild and PostgreSQL under a
 * lock; those get them by `schema contract`, or if `check: true` asks for it.
 */
export async function alignChecks(installation: Installation): Promise<void> {
  const lacking = new Set(await columnsWithoutCheck(installation));
  for (const encrypted of installation.columns.byColumn.values()) {
    const { check } = encrypted;
    if (check === undefined) continue;
    const { checks } = check.constraint.entityMetadata;
    const at = checks.indexOf(check.constraint);
    const isWanted = check.isDeclared || !lacking.has(encrypted);
    if (isWanted && at === -1) checks.push(check.constraint);
    if (!isWanted && at !== -1) checks.splice(at, 1);
  }
}
