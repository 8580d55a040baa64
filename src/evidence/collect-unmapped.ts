import type { QueryRunner } from 'typeorm';

import { FORMATS, isDataKeyId, keyPrefix } from '../format/data-key-id';
import type { KeyInfo } from '../keys/record/key-info';
import { underScopeKeySql } from '../reencryption/database/prefix-sql';
import type { TextColumn } from '../typeorm/dialect/database-catalog';
import { catalogOf, dialectOf } from '../typeorm/dialect/dialect-of';
import type { Installation } from '../typeorm/installation/installation';
import { tablePlace } from '../typeorm/metadata/table-place';
import { OWN_TABLES } from '../typeorm/tables/own-tables';

import type { UnmappedEvidence } from './column-evidence';
import type { NotChecked } from './report';

/** Counts ciphertexts under known keys in text columns that no entity maps, of any table. */
export async function unmappedEvidence(
  installation: Installation,
  runner: QueryRunner,
  keys: readonly KeyInfo[],
): Promise<UnmappedEvidence & { readonly notChecked: readonly NotChecked[] }> {
  const { dataSource } = installation;
  const { names, transactions } = dialectOf(dataSource);
  const own = OWN_TABLES.map(({ schema }) => dataSource.getMetadata(schema));
  const columnPlace = (table: string, column: string): string =>
    JSON.stringify([table, column.toLowerCase()]);
  const mapped = new Set(
    [...dataSource.entityMetadatas, ...own].flatMap(({ columns, tablePath }) => {
      const table = tablePlace(dataSource, tablePath);
      return columns.map(({ databaseName }) => columnPlace(table, databaseName));
    }),
  );
  const tables = new Map<string, TextColumn[]>();
  for (const column of await catalogOf(runner).textColumns(runner)) {
    const { schema, table } = column;
    const place = names.tablePlace(dataSource, table, schema);
    if (mapped.has(columnPlace(place, column.column))) continue;
    const path = [schema, table].map((part) => dataSource.driver.escape(part)).join('.');
    tables.set(path, [...(tables.get(path) ?? []), column]);
  }
  const found: UnmappedEvidence['found'][number][] = [];
  const notChecked: NotChecked[] = [];
  let searched = 0;
  for (const [path, columns] of tables) {
    const readable = columns.filter((column) => column.readable);
    const isHidden = (await transactions.rowSecurity?.mayHide(runner, path)) === true;
    if (isHidden || readable.length < columns.length) {
      const reason = isHidden ? 'row-level security hides rows' : 'the role may not read it';
      notChecked.push({ subject: path, reason });
    }
    if (isHidden || readable.length === 0) continue;
    searched += readable.length;
    found.push(...(await search(installation, runner, path, readable, keys)));
  }
  return { searched, found, notChecked };
}

/** Reads a table once for all of its columns. */
async function search(
  installation: Installation,
  runner: QueryRunner,
  path: string,
  columns: readonly TextColumn[],
  keys: readonly KeyInfo[],
): Promise<UnmappedEvidence['found'][number][]> {
  const counts = columns.map(({ column }) => {
    const holds = holdsCiphertextSql(installation, column, keys);
    return `COUNT(CASE WHEN ${holds} THEN 1 END) AS ${installation.dataSource.driver.escape(column)}`;
  });
  const sql = `SELECT ${counts.join(', ')} FROM ${path}`;
  const [row] = (await runner.query(sql)) as Readonly<Record<string, number | string>>[];
  return columns.flatMap(({ schema, table, column }) => {
    const rows = Number(row?.[column] ?? 0);
    return rows === 0 ? [] : { table: `${schema}.${table}`, column, rows, sql };
  });
}

function holdsCiphertextSql(
  { dataSource, hasScopes }: Installation,
  column: string,
  keys: readonly KeyInfo[],
): string {
  const cell = dataSource.driver.escape(column);
  const { sql } = dialectOf(dataSource);
  const prefixes = keys
    .filter(({ purpose, id }) => purpose === 'data' && isDataKeyId(id))
    .flatMap(({ id }) => Object.values(FORMATS).map((format) => `'${keyPrefix(id, format)}'`));
  const list = prefixes.length === 0 ? "''" : prefixes.join(', ');
  const ofCommon = `${sql.prefix(cell, 'text')} IN (${list})`;
  if (!hasScopes) return ofCommon;
  const states = ['active', 'deactivated', 'erased'] as const;
  return `${ofCommon} OR ${underScopeKeySql(dataSource, cell, 'text', states)}`;
}
