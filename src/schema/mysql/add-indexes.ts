import type { TableColumn, TableIndex } from 'typeorm';

import { quotedName } from '../../typeorm/dialect/mysql/names';
import type { ExpandedTable } from '../expanded-table';

import { definitionOf } from './column-change';
import { assertIndexFits } from './limits';
import { liveColumns } from './live-column';
import { not, queryWhether, TableConditions } from './table-conditions';

/** Adds columns and their indexes in one statement, which the database does as a whole or not at all. */
export async function addIndexes(
  target: ExpandedTable,
  columns: readonly TableColumn[],
  indexes: readonly TableIndex[],
): Promise<void> {
  const { runner, script, table } = target;
  const conditions = new TableConditions(table.metadata.tablePath);
  const first = columns[0] ?? indexes[0];
  if (first === undefined) return;
  const live = await liveColumns(runner, table.metadata.tablePath);
  for (const index of indexes) assertIndexFits(target, live, index);
  const isDone =
    columns[0] === undefined
      ? conditions.index(String(first.name))
      : conditions.column(String(first.name));
  const add = [
    ...columns.map((column) => `ADD COLUMN ${definitionOf(runner, column)}`),
    ...indexes.map(({ name, isUnique, columnNames }) => {
      const kind = isUnique ? 'UNIQUE INDEX' : 'INDEX';
      return `ADD ${kind} ${quotedName(String(name))} (${columnNames.map(quotedName).join(', ')})`;
    }),
  ];
  const drop = [
    ...indexes.map(({ name }) => `DROP INDEX ${quotedName(String(name))}`),
    ...columns.map(({ name }) => `DROP COLUMN ${quotedName(name)}`),
  ];
  const alterTable = (actions: readonly string[]): string =>
    `ALTER TABLE ${table.name} ${actions.join(', ')}`;
  script.step(
    { sql: alterTable(add), when: queryWhether(not(isDone)) },
    { sql: alterTable(drop), when: queryWhether(isDone) },
  );
}
