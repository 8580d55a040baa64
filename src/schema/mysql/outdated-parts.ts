import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { inSchema } from '../../typeorm/dialect/mysql/table-name';
import { quotedName } from '../../typeorm/dialect/mysql/names';
import { columnRefused } from '../expanded-table';
import type { ExpandedTable } from '../expanded-table';

import { mentions } from './table-definition';
import type { Part, TableDefinition } from './table-definition';

/** What goes with the columns' cleartext. */
export interface OutdatedParts {
  readonly keys: readonly Part[];
  readonly checks: readonly Part[];
}

/** Finds the indexes and constraints of a column that mean nothing on ciphertext, and notes them. */
export function outdatedParts(
  target: ExpandedTable,
  { keys, checks }: TableDefinition,
  encrypted: EncryptedColumn,
): OutdatedParts {
  const { databaseName } = encrypted.column;
  // A constraint that the entity still declares (@Check) is wanted on ciphertext, too.
  const declared = target.table.metadata.checks.map(({ name }) => name);
  const found = {
    keys: keys.filter(({ name, rest }) => mentions(rest, databaseName) && target.firstDropOf(name)),
    checks: checks.filter(
      ({ name, rest }) =>
        mentions(rest, databaseName) && !declared.includes(name) && target.firstDropOf(name),
    ),
  };
  for (const { name, sql } of [...found.keys, ...found.checks]) {
    target.noteDropped(encrypted, name, sql);
  }
  return found;
}

/**
 * Returns the indexes that foreign keys need in place of some that are dropped. They have the names that the
 * database gives them itself, by which TypeORM leaves them alone.
 */
export function keysForForeignKeys(
  { primaryKey, keys, foreignKeys }: TableDefinition,
  dropped: readonly Part[],
): Part[] {
  const serves = ({ sql }: Pick<Part, 'sql'>, columns: string): boolean =>
    [')', ','].some((end) => sql.includes(` (${columns}${end}`));
  return foreignKeys.flatMap(({ name, rest }) => {
    const columns = rest.slice(1, rest.indexOf(')'));
    const left = [{ sql: primaryKey }, ...keys.filter((key) => !dropped.includes(key))];
    if (!dropped.some((key) => serves(key, columns))) return [];
    if (left.some((key) => serves(key, columns))) return [];
    return [{ name, rest, sql: `KEY ${quotedName(name)} (${columns})` }];
  });
}

/**
 * Refuses a column that others depend on.
 *
 * @throws {@link ConfigurationError}
 */
export async function assertIndependent(
  target: ExpandedTable,
  definition: TableDefinition,
  encrypted: EncryptedColumn,
): Promise<void> {
  const { databaseName } = encrypted.column;
  const key =
    definition.foreignKeys.find(({ rest }) =>
      mentions(rest.split(' REFERENCES ')[0] ?? '', databaseName),
    )?.sql ??
    (mentions(definition.primaryKey, databaseName) ? definition.primaryKey : undefined) ??
    (await foreignReference(target, encrypted));
  if (key !== undefined) {
    throw columnRefused(
      encrypted,
      `the column takes part in a key (${key}), and a key cannot be encrypted. Drop the constraint first.`,
    );
  }
  const dependent = definition.columns.find(({ name, rest }) =>
    name === databaseName ? rest.includes(' GENERATED ALWAYS AS (') : mentions(rest, databaseName),
  );
  if (dependent !== undefined) {
    throw columnRefused(
      encrypted,
      dependent.name === databaseName
        ? `the database computes the column (${dependent.sql}). Make it an ordinary one first.`
        : `the column is used by another one (${dependent.sql}), which would be computed from ciphertext. Drop that first.`,
    );
  }
  if (mentions(definition.options, databaseName)) {
    throw columnRefused(
      encrypted,
      'the table is partitioned by the column. Partition it by another one first.',
    );
  }
}

async function foreignReference(
  { runner, table }: ExpandedTable,
  { column }: EncryptedColumn,
): Promise<string | undefined> {
  const { sql, values } = inSchema(table.metadata.tablePath);
  const [found] = (await runner.query(
    'SELECT constraint_name AS name, table_name AS `table` FROM information_schema.key_column_usage ' +
      `WHERE ${sql.replaceAll('table_', 'referenced_table_')} AND referenced_column_name = ?`,
    [...values, column.databaseName],
  )) as { name: string; table: string }[];
  return found === undefined
    ? undefined
    : `${quotedName(found.name)} of ${quotedName(found.table)}`;
}
