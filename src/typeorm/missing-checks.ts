import type { QueryRunner } from 'typeorm';
import type { EncryptedColumn } from './encrypted-column';
import type { Installation } from './installation';
import { withConnection } from './with-connection';

/**
 * The encrypted columns that should have the CHECK constraint against cleartext, and whose table in
 * the database lacks it: it was made before the constraint was the default, or not from the entity.
 * Columns of tables that are not there yet are not among them.
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
 * Brings the metadata into line with what the database has, for a schema builder that is about to
 * compare the two: it would add the constraint to existing tables, which SQLite does by a rebuild and
 * PostgreSQL under a lock. They get it by `schema contract`, or where `check: true` asks for it.
 */
export async function settleChecks(installation: Installation): Promise<void> {
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
