import type { DataSource } from 'typeorm';

import { RunPlanError } from '../../errors';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { ciphertextCheck } from '../../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { WorkTable } from '../database/work-table';
import type { Mode } from '../modes/mode';

/**
 * Refuses to write values that a CHECK constraint keeps out of their column: cleartext, or values that are
 * bound to their rows where the constraint is older than `bindTo`. The database would refuse the rows itself,
 * with their values in its error.
 *
 * @throws {@link RunPlanError}
 */
export async function assertUnchecked(
  dataSource: DataSource,
  { metadata, columns }: WorkTable,
  mode: Pick<Mode, 'name' | 'writes'>,
): Promise<void> {
  if (mode.writes === 'nothing' || mode.writes === 'tokens') return;
  const live = await withConnection(dataSource, undefined, (runner) =>
    runner.getTable(metadata.tablePath),
  );
  for (const { encrypted } of columns) {
    const { binding, column, policy } = encrypted;
    const inClear = mode.name === 'decrypt';
    if (!inClear && binding === undefined) continue;
    const { name } = ciphertextCheck(
      column,
      inClear ? policy : { ...policy, boundTo: [] },
      dataSource,
    );
    if (live?.checks.some((check) => check.name === name) !== true) continue;
    throw checked(encrypted, { name, inClear, migrations: migrationsOf(dataSource, name) });
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
  constraint: {
    readonly name: string;
    readonly inClear: boolean;
    readonly migrations: readonly string[];
  },
): RunPlanError {
  const { entity, property } = encrypted.policy;
  const { name, inClear, migrations } = constraint;
  const [what, why] = inClear
    ? ['cleartext', 'legacyPlaintext names the property']
    : ['values that are bound to their rows', 'the property has bindTo'];
  const [last] = migrations;
  const remedy =
    last === undefined
      ? 'Drop it'
      : `Revert ${migrations.join(', then ')} (\`migration:revert\`), or drop the constraint`;
  return new RunPlanError(
    `${describeColumn(encrypted)}: the CHECK constraint "${name}" keeps ${what} out of its column. ` +
      `${remedy} by what \`migration:generate\` writes now that ${why}.`,
    { entity, property },
  );
}
