import { dialectOf } from '../../dialect/dialect-of';
import type { LexicalRules } from '../../dialect/lexical-rules';
import type { Installation } from '../../installation/installation';
import { rawUse } from '../../sql/raw-use';
import { SqlCheck } from '../../sql/sql-check';
import { asName } from '../../sql/sql-nodes';
import { sqlNodes } from '../../sql/sql-scanner';
import { UNKNOWN } from '../../sql/sql-sources';
import type { Source } from '../../sql/sql-sources';
import type { Expressions } from '../any-query-builder';

import { Tables } from './entity-tables';
import { assertNamesSeen, seenNodes } from './hidden-names';

/** The queries in the place of tables of a statement, and the tables that it does not name by their entity. */
export interface DerivedTables {
  readonly byAlias: ReadonlyMap<string, Source>;
  /** Common table expressions. */
  readonly named: ReadonlyMap<string, Source>;
}

/** Checks the derived tables of a statement, and returns what they select; `undefined` if there are none. */
export function derivedTables(
  { aliases, commonTableExpressions }: Expressions,
  installation: Installation,
): DerivedTables | undefined {
  const derived = aliases.filter(({ hasMetadata }) => !hasMetadata);
  if (derived.length === 0 && commonTableExpressions.length === 0) return undefined;
  const tables = Tables.of(installation);
  const { lexicalRules } = dialectOf(installation.dataSource);
  const named = new Map<string, Source>();
  const outputs = (sql: string): Source => {
    const fragment = { sql, clause: 'a derived table' };
    assertNamesSeen(fragment, installation);
    const isConcerned = named.size > 0 || tables.mentionedIn(sql);
    const nodes = isConcerned ? seenNodes(fragment, installation) : sqlNodes(sql, lexicalRules);
    return new SqlCheck(tables, fragment.clause, named).statement(nodes);
  };
  for (const { queryBuilder, alias, options } of commonTableExpressions) {
    const source = outputs(
      typeof queryBuilder === 'string' ? queryBuilder : queryBuilder.getQuery(),
    );
    if (options.columnNames !== undefined) assertNoneEncrypted(source, 'a derived table');
    named.set(alias.toLowerCase(), source);
  }
  const byAlias = new Map<string, Source>();
  for (const { name, subQuery, tablePath } of derived) {
    const parts = partsOfPath(tablePath ?? '', lexicalRules);
    const table = (): Source => named.get(parts.join('.')) ?? tables.source(parts) ?? UNKNOWN;
    byAlias.set(name.toLowerCase(), subQuery === undefined ? table() : outputs(subQuery));
  }
  return { byAlias, named };
}

/** Returns the parts of the path of a table, which may be quoted. */
function partsOfPath(path: string, rules: LexicalRules): readonly string[] {
  const [node, ...others] = sqlNodes(path, rules).map((each) => asName(each));
  return node?.kind === 'name' && others.length === 0 ? node.parts : path.toLowerCase().split('.');
}

/** Refuses to select all columns of a derived table with ciphertext, which would look like a value. */
export function assertNotAllSelected(
  { queryType, aliases, mainAlias, selects }: Expressions,
  { byAlias, named }: DerivedTables,
): void {
  if (queryType !== 'select') return;
  const isEmpty = selects.length === 0 && mainAlias?.hasMetadata !== true;
  for (const { name, subQuery, tablePath } of aliases) {
    const source = byAlias.get(name.toLowerCase());
    const isDerived = subQuery !== undefined || named.has(tablePath?.toLowerCase() ?? '');
    if (source === undefined || !isDerived) continue;
    const all = ['*', name, `${name}.*`];
    if (isEmpty || selects.some(({ selection }) => all.includes(selection.trim()))) {
      assertNoneEncrypted(source, 'a derived table');
    }
  }
}

/** Refuses a source that hands out an encrypted column. */
export function assertNoneEncrypted({ encrypted }: Source, clause: string): void {
  for (const column of encrypted.values()) throw rawUse(column, clause);
}
