import type { DataSource } from 'typeorm';

import { RunPlanError } from '../../errors';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { ciphertextCheck } from '../../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { WorkTable } from '../database/work-table';

/**
 * Refuses to write cleartext to a column that has a CHECK constraint against it. The database would
 * refuse the rows itself, with their cleartext in its error.
 *
 * @throws {@link RunPlanError}
 */
export async function assertUnchecked(
  dataSource: DataSource,
  { metadata, columns }: WorkTable,
): Promise<void> {
  const live = await withConnection(dataSource, undefined, (runner) =>
    runner.getTable(metadata.tablePath),
  );
  for (const { encrypted } of columns) {
    const { name } = ciphertextCheck(encrypted.column, encrypted.policy.storage, dataSource);
    if (live?.checks.some((check) => check.name === name) !== true) continue;
    throw checked(encrypted, name, migrationsOf(dataSource, name));
  }
}

/** Returns the migrations that make a constraint, the last one first, by the SQL in their source. */
function migrationsOf({ migrations }: DataSource, constraint: string): string[] {
  return migrations
    .filter((migration) => migration.up.toString().includes(constraint))
    .map((migration) => migration.name ?? migration.constructor.name)
    .reverse();
}

function checked(
  encrypted: EncryptedColumn,
  constraint: string,
  migrations: readonly string[],
): RunPlanError {
  const { entity, property } = encrypted.policy;
  const [last] = migrations;
  const remedy =
    last === undefined
      ? 'Drop it'
      : `Revert ${migrations.join(', then ')} (\`migration:revert\`), or drop the constraint`;
  return new RunPlanError(
    `${describeColumn(encrypted)}: the CHECK constraint "${constraint}" keeps cleartext out of its column. ` +
      `${remedy} by what \`migration:generate\` writes now that legacyPlaintext names the property.`,
    { entity, property },
  );
}
