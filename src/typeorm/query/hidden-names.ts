import type { EncryptedEntity } from '../encrypted-column';
import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';
import type { Fragment } from './raw-fragments';
import { hiddenUse } from './raw-use';

/** A name of PostgreSQL whose characters may be written by their numbers. */
const UNICODE_NAME = /\bu&"/i;
/** Functions of PostgreSQL and its extensions that read what a text tells them to. */
const READS_TEXT =
  /\b(?:(?:query|table|cursor|schema|database)_to_xml\w*|ts_stat|ts_rewrite|dblink\w*|crosstab\w*|connectby|xpath_table)"?\s*(?:\(|\/\*|--)/i;
/** What follows the name of a row that stands for itself, and for no column of it. */
const AFTER_ROW = /"?(?![\p{L}\p{N}_$"])(?!\s*\.\s*["\p{L}_])/uy;
const IN_NAME = /[\p{L}\p{N}_$]/u;

/**
 * Refuses SQL for PostgreSQL in which names of encrypted columns can stand that nobody sees: escaped
 * names, and functions that are given SQL or the name of a table as text.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNamesSeen(
  { sql, clause }: Fragment,
  installation: Installation,
  entity?: EncryptedEntity,
): void {
  if (!isPostgres(installation)) return;
  const [column] = entity?.columns ?? installation.columns.byColumn.values();
  if (column === undefined) return;
  if (UNICODE_NAME.test(sql)) throw hiddenUse(column, clause, 'a name written as U&"…"');
  const name = READS_TEXT.exec(sql)?.[0].replace(/\W+$/, '');
  if (name !== undefined) throw hiddenUse(column, clause, `the function ${name}`);
}

/** Whether SQL for PostgreSQL may use a whole row of an encrypted entity, as in `to_jsonb(p)`. */
export function mentionsRow(
  lower: string,
  { aliases }: Expressions,
  installation: Installation,
): boolean {
  if (!isPostgres(installation)) return false;
  return aliases.some((alias) => {
    const { name } = alias;
    if (!alias.hasMetadata) return standsForRow(lower, name);
    const { metadata } = alias;
    if (installation.encryptedEntity(metadata) === undefined) return false;
    // Statements other than SELECT name the table.
    return standsForRow(lower, name) || standsForRow(lower, metadata.tableName);
  });
}

function standsForRow(lower: string, row: string): boolean {
  const name = row.toLowerCase();
  for (let at = lower.indexOf(name); at >= 0; at = lower.indexOf(name, at + 1)) {
    AFTER_ROW.lastIndex = at + name.length;
    if (!IN_NAME.test(lower.charAt(at - 1)) && AFTER_ROW.test(lower)) return true;
  }
  return false;
}

function isPostgres({ dataSource }: Installation): boolean {
  return dataSource.options.type === 'postgres';
}
