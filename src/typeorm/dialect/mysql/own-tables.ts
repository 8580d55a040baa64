import type { QueryRunner, Table, TableColumn, TableIndex } from 'typeorm';

import type { OwnTables, TableGuards } from '../own-tables';

import { quotedName, quotedPath } from './names';
import { inSchema } from './table-name';
import { mysqlValues } from './values';

/**
 * By which texts are equal only if their bytes are, also spaces at the end. Its names differ, and each server takes
 * what is in the comment of the other one for a comment.
 */
const COLLATION = '/*!80017 utf8mb4_0900_bin */ /*M!100202 utf8mb4_nopad_bin */';

/** Keeps a generated column out of `SELECT *`, so that rows can be copied: nothing else may be inserted into it. */
const INVISIBLE = '/*!80023 INVISIBLE */ /*M!100303 INVISIBLE */';

/** The column with what ciphertexts begin with, in the collation that {@link mysqlValues} gives those. */
const PREFIX = 'prefix';

/** The types of a text without a limit, and of one that TypeORM calls otherwise. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ['text', 'longtext'],
  ['integer', 'int'],
]);

/**
 * A generated column stands for the condition of an index over some of the rows: it is NULL in all others, which a
 * unique index takes for different ones. It has the name of its index. TypeORM does not know of it: it would need a
 * table of its own to read it, and write what MariaDB refuses as `type: 'mysql'`.
 */
export const mysqlOwnTables: OwnTables = {
  create: (table) => {
    const contested = contestedIndex(table);
    const indexes = table.indices.filter((index) => index !== contested);
    const parts = [
      ...table.columns.map(columnSql),
      ...keysSql(table.primaryColumns, contested),
      ...indexes.flatMap(indexSql),
    ];
    return (
      `CREATE TABLE ${quotedPath(table.name)} (${parts.join(', ')}) ` +
      `ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${COLLATION}`
    );
  },
  addColumn: (tablePath, column) =>
    `ALTER TABLE ${quotedPath(tablePath)} ADD COLUMN ${columnSql(column)}`,
  guards,
};

/** The index that finds out that another has inserted the same row first. */
function contestedIndex({ columns, indices }: Table): TableIndex | undefined {
  const required = columns.filter(({ isNullable }) => !isNullable).map(({ name }) => name);
  return indices.find(
    ({ isUnique, where, columnNames }) =>
      isUnique && !where && columnNames.every((name) => required.includes(name)),
  );
}

/**
 * The primary key is the contested index, and a unique index has its columns: a row that is there locks the gap beside
 * it for all others in any other index, also at READ COMMITTED.
 */
function keysSql(primary: readonly TableColumn[], contested: TableIndex | undefined): string[] {
  const names = primary.map(({ name }) => name);
  if (contested === undefined) return [`PRIMARY KEY (${quotedNames(names)})`];
  const name = primary[0]?.primaryKeyConstraintName ?? '';
  return [
    `PRIMARY KEY (${quotedNames(contested.columnNames)})`,
    `UNIQUE INDEX ${quotedName(name)} (${quotedNames(names)})`,
  ];
}

function quotedNames(names: readonly string[]): string {
  return names.map(quotedName).join(', ');
}

function columnSql({ name, type, length, isNullable, default: value }: TableColumn): string {
  const { charset = '', collation = '' } = mysqlValues.exactText ?? {};
  return [
    quotedName(name),
    TYPES.get(type) ?? type + (length === '' ? '' : `(${length})`),
    ...(name === PREFIX ? [`CHARACTER SET ${charset} COLLATE ${collation}`] : []),
    ...(isNullable ? [] : ['NOT NULL']),
    ...(value === undefined || value === null ? [] : [`DEFAULT ${String(value)}`]),
  ].join(' ');
}

function indexSql({ name = '', columnNames, isUnique, where }: TableIndex): string[] {
  const columns = quotedNames(columnNames);
  const index = quotedName(name);
  if (!where) return [`${isUnique ? 'UNIQUE ' : ''}INDEX ${index} (${columns})`];
  const condition = where.replaceAll('"', '`');
  return [
    `${index} tinyint AS (CASE WHEN ${condition} THEN 1 END) STORED ${INVISIBLE}`,
    `UNIQUE INDEX ${index} (${columns}, ${index})`,
  ];
}

/** A column of an index. */
interface IndexColumn {
  readonly index: string;
  readonly column: string;
  readonly extra: string;
}

async function guards(runner: QueryRunner, tablePath: string): Promise<TableGuards | undefined> {
  if (!(await runner.hasTable(tablePath))) return undefined;
  const { sql, values } = inSchema(tablePath);
  const found = (await runner.query(
    'SELECT s.index_name AS `index`, s.column_name AS `column`, c.extra AS extra ' +
      'FROM information_schema.statistics s JOIN information_schema.columns c USING (table_schema, table_name, column_name) ' +
      `WHERE ${sql} AND s.non_unique = 0 AND s.sub_part IS NULL ORDER BY s.index_name, s.seq_in_index`,
    values,
  )) as IndexColumn[];
  const indexes = new Map(found.map(({ index }) => [index, [] as IndexColumn[]]));
  for (const each of found) indexes.get(each.index)?.push(each);
  // Its columns are in an index beside it where another is contested.
  const primary = [...indexes.keys()].find((name) => name.endsWith('_pkey')) ?? 'PRIMARY';
  return {
    primary: (indexes.get(primary) ?? []).map(({ column }) => column),
    unique: [...indexes].filter(([name]) => name !== primary).map((each) => uniqueIndex(...each)),
  };
}

function uniqueIndex(
  index: string,
  columns: readonly IndexColumn[],
): TableGuards['unique'][number] {
  const isCondition = ({ column, extra }: IndexColumn): boolean =>
    column === index && extra.includes('GENERATED');
  return {
    columns: columns.filter((each) => !isCondition(each)).map(({ column }) => column),
    isPartial: columns.some(isCondition),
  };
}
