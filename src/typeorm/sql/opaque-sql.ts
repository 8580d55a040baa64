import type { EncryptedColumn } from '../metadata/encrypted-column';

import { isHarmless } from './raw-use';
import { isAlias, withinGroups } from './sql-clauses';
import { asName, isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';
import { Scope, UNKNOWN, WRITTEN_ROWS } from './sql-sources';
import type { Catalog } from './sql-sources';

type Lists = readonly (readonly SqlNode[])[];

/** Keywords that the name of a table follows. */
const BEFORE_SOURCE = ['from', 'into', 'update', 'join', 'using', 'only'];

/**
 * Finds the encrypted column that SQL uses if it is not a query, or one that cannot be parsed: it names an
 * encrypted table and one of its encrypted columns, or all columns.
 */
export function opaqueUse(nodes: readonly SqlNode[], tables: Catalog): EncryptedColumn | undefined {
  const written = [...withinGroups(nodes)];
  // Any string may be a name, as its surroundings are not understood.
  const lists = written.map((list) => list.map((node) => asName(node)));
  const encrypted = encryptedNamed(lists, tables);
  const [any] = encrypted.values();
  if (any === undefined) return undefined;
  for (const list of lists) {
    for (const [at, node] of list.entries()) {
      // COUNT(*) has nothing else in its parentheses; TABLE stands for SELECT * FROM.
      if (node.kind === 'star' ? list.length > 1 : isKeyword(node, 'table')) return any;
      if (node.kind !== 'name') continue;
      const column = encrypted.get(node.parts.at(-1) ?? '') ?? encrypted.get(node.parts.join('.'));
      if (column !== undefined && !isHarmless(list, at, column)) return column;
    }
  }
  return tables.rowsAreValues ? rowUse(written, tables) : undefined;
}

/** Finds an encrypted column of a table that SQL names. */
export function encryptedTableIn(
  nodes: readonly SqlNode[],
  tables: Catalog,
): EncryptedColumn | undefined {
  const lists = [...withinGroups(nodes)].map((list) => list.map((node) => asName(node)));
  return encryptedNamed(lists, tables).values().next().value;
}

/** Finds a row that stands for its values. */
function rowUse(lists: Lists, tables: Catalog): EncryptedColumn | undefined {
  const rows = rowsNamed(lists, tables);
  for (const list of lists) {
    for (const [at, node] of list.entries()) {
      if (node.kind !== 'name' || isSource(list, at)) continue;
      const column = rows.wholeRow(node.parts) ?? rows.calledRow(node.parts);
      if (column !== undefined && !isHarmless(list, at, column)) return column;
    }
  }
  return undefined;
}

/** Returns the rows of all tables that are named, also by what may be an alias. */
function rowsNamed(lists: Lists, tables: Catalog): Scope {
  const scope = new Scope();
  for (const list of lists) {
    for (const [at, node] of list.entries()) {
      const source = node.kind === 'name' ? tables.source(node.parts) : undefined;
      if (node.kind !== 'name' || source === undefined) continue;
      const alias = isKeyword(list[at + 1], 'as') ? list[at + 2] : list[at + 1];
      const names = [node.parts.join('.'), node.parts.at(-1) ?? '', ...WRITTEN_ROWS];
      if (isSource(list, at) && isAlias(alias)) names.push(alias.parts.join('.'));
      for (const name of names) scope.add(name, source);
    }
  }
  return scope;
}

/** Whether a name is that of a table of the statement, or an alias. */
function isSource(list: readonly SqlNode[], at: number): boolean {
  const before = list[at - 1];
  if (isKeyword(before, 'as')) return isSource(list, at - 2);
  if (isKeyword(before, ...BEFORE_SOURCE)) return !isKeyword(list[at - 2], 'distinct');
  return before?.kind === 'name' && isKeyword(list[at - 2], ...BEFORE_SOURCE);
}

/** Returns the encrypted columns of all tables that are named. */
function encryptedNamed(lists: Lists, tables: Catalog): Map<string, EncryptedColumn> {
  const names = new Map<string, readonly string[]>();
  for (const node of lists.flat()) {
    if (node.kind === 'name') names.set(node.parts.join('.'), node.parts);
  }
  const sources = [...names.values()].map((parts) => tables.source(parts) ?? UNKNOWN);
  return new Map(sources.flatMap(({ encrypted }) => [...encrypted]));
}
