import type { Installation } from '../../installation/installation';
import { encryptedTableIn } from '../../sql/opaque-sql';
import { hiddenUse } from '../../sql/raw-use';
import { addedQuery } from '../../sql/sql-clauses';
import type { SqlNode } from '../../sql/sql-nodes';
import type { Scope } from '../../sql/sql-sources';

import { Tables } from './entity-tables';
import { JOIN_CONDITION } from './raw-fragments';
import type { Fragment } from './raw-fragments';

/** Words of SQL that reads. Letters may stand right before them, as in `1e5from`. */
const READS = /select|table|from|join|union|intersect|except/i;

/** Whether SQL may read from a table of its own, or go on with one. */
export function mayRead({ sql, clause }: Fragment): boolean {
  return READS.test(sql) || (clause === JOIN_CONDITION && sql.includes(','));
}

/**
 * Refuses a part of a statement that goes on with rows of other tables, such as by UNION, where some are encrypted: the
 * names of these mean something else from there on, in other parts, too.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNothingAdded(
  nodes: readonly SqlNode[],
  clause: string,
  scope: Scope,
  installation: Installation,
): void {
  const word = addedQuery(nodes, clause === JOIN_CONDITION);
  if (word === undefined) return;
  const column = scope.anyEncrypted() ?? encryptedTableIn(nodes, Tables.of(installation));
  if (column !== undefined) throw hiddenUse(column, clause, `${word} outside of parentheses`);
}
