import { TableColumn } from 'typeorm';
import type { TableCheck, TableUnique } from 'typeorm';
import { TableUtils } from 'typeorm/schema-builder/util/TableUtils.js';

import { ConfigurationError } from '../../errors';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { ExpandedTable } from '../expanded-table';

/** Expands columns on SQLite, where TypeORM's own methods keep the data: they rebuild the table. */
export async function expandColumns(
  target: ExpandedTable,
  columns: readonly EncryptedColumn[],
): Promise<void> {
  for (const encrypted of columns) {
    await target.assertNoCleartext(encrypted, escaped(encrypted));
    const type = encrypted.policy.storage === 'text' ? 'TEXT' : 'BLOB';
    target.inTransition.push({ encrypted, stored: `CAST(${escaped(encrypted)} AS ${type})` });
  }
  if (mustRebuild(target, columns)) await assertRebuildable(target);
  for (const encrypted of columns) await dropDependents(target, encrypted);
  await changeColumns(target, columns);
}

function mustRebuild(target: ExpandedTable, columns: readonly EncryptedColumn[]): boolean {
  const { live, table } = target;
  return (
    changedColumns(target, columns).length > 0 ||
    columns.some(({ column }) => outdatedUniques(target, column.databaseName).length > 0) ||
    columns.some(({ column }) => outdatedChecks(target, column.databaseName).length > 0) ||
    table.columns.some(({ indexes }) =>
      indexes.some(({ column }) => live.findColumnByName(column.databaseName) === undefined),
    )
  );
}

function changedColumns(
  { runner, live }: ExpandedTable,
  columns: readonly EncryptedColumn[],
): EncryptedColumn[] {
  const changed = runner.connection.driver.findChangedColumns(
    live.columns,
    columns.map(({ column }) => column),
  );
  return columns.filter(({ column }) => changed.includes(column));
}

async function dropDependents(target: ExpandedTable, encrypted: EncryptedColumn): Promise<void> {
  const { runner, live } = target;
  const name = encrypted.column.databaseName;
  for (const index of [...live.indices]) {
    if (!index.columnNames.includes(name) && !mentions(index.where, name)) continue;
    await runner.dropIndex(live, index);
    const kind = index.isUnique ? 'UNIQUE INDEX' : 'INDEX';
    target.noteDropped(encrypted, String(index.name), `${kind} (${index.columnNames.join(', ')})`);
  }
  for (const unique of outdatedUniques(target, name)) {
    await runner.dropUniqueConstraint(live, unique);
    target.noteDropped(encrypted, String(unique.name), `UNIQUE (${unique.columnNames.join(', ')})`);
  }
  for (const check of outdatedChecks(target, name)) {
    await runner.dropCheckConstraint(live, check);
    target.noteDropped(encrypted, String(check.name), `CHECK ${String(check.expression)}`);
  }
}

function outdatedUniques({ live }: ExpandedTable, column: string): TableUnique[] {
  return live.uniques.filter(({ columnNames }) => columnNames.includes(column));
}

/** Finds the checks to drop. Those that the entity still declares (`@Check`) are wanted on ciphertext, too. */
function outdatedChecks({ live, table }: ExpandedTable, column: string): TableCheck[] {
  const declared = table.metadata.checks.map(({ name }) => name);
  return live.checks.filter(
    ({ name, expression }) => mentions(expression, column) && !declared.includes(String(name)),
  );
}

async function changeColumns(
  target: ExpandedTable,
  columns: readonly EncryptedColumn[],
): Promise<void> {
  const { runner, live } = target;
  const { driver } = runner.connection;
  const changes = changedColumns(target, columns).map((encrypted) => ({
    encrypted,
    oldColumn: live.findColumnByName(encrypted.column.databaseName) as TableColumn,
    newColumn: new TableColumn(TableUtils.createTableColumnOptions(encrypted.column, driver)),
  }));
  if (changes.length === 0) return;
  await runner.changeColumns(live, changes);
  for (const { encrypted, oldColumn, newColumn } of changes) {
    target.guardDown(encrypted);
    // As the database has it, it is SQL.
    const value = oldColumn.default as string | undefined;
    if (value !== undefined) target.noteDefault(encrypted, `DEFAULT ${value}`);
    if (oldColumn.type === 'datetime' && encrypted.policy.type === 'date')
      convertDates(target, encrypted);
    if (oldColumn.type === 'boolean') convertBooleans(target, encrypted);
    if (newColumn.type === 'blob' && oldColumn.type !== 'blob') convertToBytes(target, encrypted);
  }
}

/** Adds the zone to dates: TypeORM stores UTC without it, and the text would be read as local time. */
function convertDates({ script, table }: ExpandedTable, encrypted: EncryptedColumn): void {
  const name = escaped(encrypted);
  script.step(
    `UPDATE ${table.name} SET ${name} = replace(${name}, ' ', 'T') || 'Z' ` +
      `WHERE ${name} GLOB '????-??-?? ??:??*' AND ${name} NOT GLOB '????-??-?? *[Zz+-]*'`,
    `UPDATE ${table.name} SET ${name} = replace(rtrim(${name}, 'Z'), 'T', ' ') ` +
      `WHERE ${name} GLOB '????-??-??T??:??*Z'`,
  );
}

/** Converts booleans, in `down` back to numbers: the old column would read any text as true. */
function convertBooleans({ script, table }: ExpandedTable, encrypted: EncryptedColumn): void {
  const name = escaped(encrypted);
  script.step(
    `UPDATE ${table.name} SET ${name} = CASE ${name} WHEN '1' THEN 'true' WHEN '0' THEN 'false' ELSE ${name} END`,
    `UPDATE ${table.name} SET ${name} = CASE ${name} WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE ${name} END`,
  );
}

/** Converts to bytes, which a column of type blob does not do by itself. */
function convertToBytes({ script, table }: ExpandedTable, encrypted: EncryptedColumn): void {
  const name = escaped(encrypted);
  script.step(
    `UPDATE ${table.name} SET ${name} = CAST(${name} AS BLOB)`,
    `UPDATE ${table.name} SET ${name} = CAST(${name} AS TEXT)`,
  );
}

/** Whether SQL may name a column. */
function mentions(sql: string | undefined, column: string): boolean {
  const quoted = column.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  return sql !== undefined && new RegExp(`(?<![\\w$])${quoted}(?![\\w$])`, 'i').test(sql);
}

function escaped({ column }: EncryptedColumn): string {
  return `"${column.databaseName}"`;
}

/**
 * Refuses a table that TypeORM cannot rebuild. To change a table, SQLite needs a new one, which TypeORM
 * creates from what it can read of the old one: the rest would silently be lost, in `down` as well.
 *
 * @throws {@link ConfigurationError}
 */
async function assertRebuildable(target: ExpandedTable): Promise<void> {
  const { runner, live, table } = target;
  // An attached file has its own catalogue.
  const [file] = table.metadata.tablePath.split('.').slice(0, -1);
  const catalogue = file === undefined ? 'sqlite_master' : `"${file}".sqlite_master`;
  const rows = (await runner.query(
    `SELECT type, name, sql FROM ${catalogue} WHERE tbl_name = ? AND type IN ('table', 'trigger')`,
    [table.metadata.tableName],
  )) as { type: string; name: string; sql: string }[];
  const sql = rows.find(({ type }) => type === 'table')?.sql ?? '';
  const checks = live.checks.length + live.columns.filter((column) => column.enum).length;
  const lost = [
    ...rows.filter(({ type }) => type === 'trigger').map(({ name }) => `the trigger "${name}"`),
    ...live.indices
      .filter(({ columnNames }) => columnNames.some((name) => (name as string | null) === null))
      .map(({ name }) => `the index "${String(name)}" on an expression`),
    ...(/\bCOLLATE\b/i.test(sql) ? ['a COLLATE clause'] : []),
    ...((sql.match(/\bCHECK\b/gi) ?? []).length > checks ? ['a CHECK without a name'] : []),
  ];
  if (lost.length === 0) return;
  throw new ConfigurationError(
    `${table.metadata.name}: on SQLite TypeORM rebuilds the table, and would lose ${lost.join(', ')}. ` +
      'Drop it in a migration of your own, run the command again, and bring back afterwards what is still wanted.',
    { entity: table.metadata.name },
  );
}
