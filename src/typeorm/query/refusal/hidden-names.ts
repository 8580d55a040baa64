import { dialectOf } from '../../dialect/dialect-of';
import type { Installation } from '../../installation/installation';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import { hiddenUse } from '../../sql/raw-use';
import { isSymbol } from '../../sql/sql-nodes';
import type { ScannedSql, SqlNode } from '../../sql/sql-nodes';
import { scannedSql } from '../../sql/sql-scanner';
import { UNKNOWN, WRITTEN_ROWS } from '../../sql/sql-sources';
import type { Source } from '../../sql/sql-sources';
import type { Expressions } from '../any-query-builder';

import { Tables } from './entity-tables';
import type { Fragment } from './raw-fragments';

/** Functions of PostgreSQL and its extensions that take SQL, or the name of what to read, as text. */
const READS_TEXT =
  /\b(?:(?:query|table|cursor|schema|database)_to_xml\w*|ts_stat|ts_rewrite|dblink\w*|crosstab\w*|connectby|xpath_table)"?\s*(?:\(|\/\*|--)/i;
const NAME = String.raw`\s*\.\s*(?:"[^"]*"|[\p{L}_][\p{L}\p{N}_$]*)`;
/** The rest after the name of a row: a column of it, or nothing if the row stands for itself. */
const AFTER_ROW = new RegExp(String.raw`"?(?![\p{L}\p{N}_$"])((?:${NAME})*)`, 'uy');
const IN_NAME = /[\p{L}\p{N}_$]/u;

/**
 * Refuses SQL that can name encrypted columns unseen: by names that are written in another way, and for PostgreSQL
 * by functions that take SQL or the name of a table as text.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNamesSeen(
  { sql, clause }: Fragment,
  installation: Installation,
  entity?: EncryptedEntity,
): void {
  const [column] = columnsOf(installation, entity);
  if (column === undefined) return;
  const { hiddenNames } = dialectOf(installation.dataSource).lexicalRules;
  if (hiddenNames?.form.test(sql) === true) throw hiddenUse(column, clause, hiddenNames.called);
  if (!Tables.of(installation).rowsAreValues) return;
  const name = READS_TEXT.exec(sql)?.[0].replace(/\W+$/, '');
  if (name !== undefined) throw hiddenUse(column, clause, `the function ${name}`);
}

/**
 * Refuses a value in SQL that would end before its text does: what follows a bracket that it closes, or a comment that
 * it begins, would be other values.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertOneValue(
  sql: string,
  { dataSource }: Installation,
  entity: EncryptedEntity | undefined,
): void {
  const [column] = entity?.columns ?? [];
  if (column === undefined) return;
  if (scannedSql(sql, dialectOf(dataSource).lexicalRules).isWhole) return;
  throw hiddenUse(column, 'a value', 'a comment, or a bracket without its other one');
}

/**
 * Refuses names of indexes (`useIndex`) with which the statement goes on in SQL. TypeORM 0.3 writes them as they are; 1
 * writes a list of them in quotes, within which it still replaces what looks like a property.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertIndexNames(
  { useIndex }: Expressions,
  installation: Installation,
  entity: EncryptedEntity | undefined,
): void {
  const [column] = useIndex === undefined ? [] : columnsOf(installation, entity);
  if (column === undefined) return;
  const { lexicalRules } = dialectOf(installation.dataSource);
  const areNames = Array.isArray(useIndex)
    ? useIndex.every((name) => !/[`()]/.test(name))
    : isListOfNames(scannedSql(String(useIndex), lexicalRules));
  if (!areNames) throw hiddenUse(column, 'useIndex()', 'more than names of indexes');
}

function isListOfNames({ nodes, isWhole }: ScannedSql): boolean {
  return isWhole && nodes.every((node) => node.kind === 'name' || isSymbol(node, ','));
}

/**
 * Parses SQL that concerns encrypted columns.
 *
 * @throws {@link UnsupportedQueryError} for SQL that the database may read in another way
 */
export function seenNodes(
  { sql, clause }: Fragment,
  installation: Installation,
  entity?: EncryptedEntity,
): readonly SqlNode[] {
  const { nodes, isClear } = scannedSql(sql, dialectOf(installation.dataSource).lexicalRules);
  const columns = isClear ? [] : columnsOf(installation, entity);
  const [first] = columns;
  if (first === undefined) return nodes;
  const lower = sql.toLowerCase();
  // One of the entity that it names, or else of any.
  const column =
    [...columns, ...columnsOf(installation, undefined)].find((each) =>
      lower.includes(each.column.databaseName.toLowerCase()),
    ) ?? first;
  throw hiddenUse(column, clause, 'a quotation, comment or word that can be read in several ways');
}

function columnsOf(
  { columns }: Installation,
  entity: EncryptedEntity | undefined,
): readonly EncryptedColumn[] {
  return entity?.columns ?? [...columns.byColumn.values()];
}

/**
 * Whether SQL for PostgreSQL may use a whole row of an encrypted entity, as in `to_jsonb(p)` or the
 * equivalent `p.to_jsonb`.
 */
export function mentionsRow(
  lower: string,
  { aliases, queryType }: Expressions,
  installation: Installation,
): boolean {
  const tables = Tables.of(installation);
  if (!tables.rowsAreValues) return false;
  return aliases.some((alias) => {
    if (!alias.hasMetadata) return standsForRow(lower, alias.name, UNKNOWN);
    const { name, metadata } = alias;
    const { source, encryptedNames } = tables.ofEntity(metadata);
    if (encryptedNames.length === 0) return false;
    // Statements other than SELECT name the table.
    const rows = [name, metadata.tableName, ...(queryType === 'select' ? [] : WRITTEN_ROWS)];
    return rows.some((row) => standsForRow(lower, row, source));
  });
}

function standsForRow(lower: string, row: string, { plain, paths }: Source): boolean {
  const name = row.toLowerCase();
  for (let at = lower.indexOf(name); at >= 0; at = lower.indexOf(name, at + 1)) {
    if (IN_NAME.test(lower.charAt(at - 1))) continue;
    AFTER_ROW.lastIndex = at + name.length;
    const column = AFTER_ROW.exec(lower)?.[1]?.replace(/[\s"]/g, '').slice(1);
    if (column === undefined) continue;
    if (!plain.has(column) && paths?.has(column) !== true) return true;
  }
  return false;
}
