import type { EncryptedColumn } from '../encrypted-column';
import { isHarmless } from './raw-use';
import { withinGroups } from './sql-clauses';
import { asName, isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';
import { UNKNOWN } from './sql-sources';
import type { Catalog } from './sql-sources';

/**
 * Finds the encrypted column that SQL uses which is no query, or none that is understood: it names an
 * encrypted table and one of its encrypted columns, or all columns.
 */
export function opaqueUse(nodes: readonly SqlNode[], tables: Catalog): EncryptedColumn | undefined {
  // Any string may be a name, where it is not understood what stands around it.
  const lists = [...withinGroups(nodes)].map((list) => list.map((node) => asName(node)));
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
  return undefined;
}

/** The encrypted columns of all tables that are named. */
function encryptedNamed(
  lists: readonly (readonly SqlNode[])[],
  tables: Catalog,
): Map<string, EncryptedColumn> {
  const names = new Map<string, readonly string[]>();
  for (const node of lists.flat()) {
    if (node.kind === 'name') names.set(node.parts.join('.'), node.parts);
  }
  const sources = [...names.values()].map((parts) => tables.source(parts) ?? UNKNOWN);
  return new Map(sources.flatMap(({ encrypted }) => [...encrypted]));
}
