import type { EncryptedColumn } from '../metadata/encrypted-column';

import { hasPosition, itemsOf } from './sql-clauses';
import { isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';
import type { Scope, Source } from './sql-sources';

/** The check of the statement that a select list is part of. */
export interface SelectListCheck {
  /** Checks an expression of the list, which may use no encrypted column as if it held its values. */
  readonly expression: (nodes: readonly SqlNode[]) => void;
  /** Called for an encrypted column whose ciphertexts are used. */
  readonly onUse: (column: EncryptedColumn, clause?: string) => void;
}

/** Columns by the names that a select list gives them. */
interface Outputs {
  readonly encrypted: Map<string, EncryptedColumn>;
  readonly plain: Set<string>;
  /** Plain columns that only `*` selects. */
  readonly starred: Set<string>;
}

/** Returns the columns that a select list hands out, in which encrypted ones may stand by themselves. */
export function selectedOutputs(
  list: readonly SqlNode[],
  scope: Scope,
  check: SelectListCheck,
): Source {
  const isDistinct = isKeyword(list[0], 'distinct');
  const isDistinctOn = isDistinct && isKeyword(list[1], 'on');
  const on = isDistinctOn ? list.slice(2, 3) : [];
  check.expression(on);
  const items = list.slice(isDistinctOn ? 3 : isDistinct || isKeyword(list[0], 'all') ? 1 : 0);
  const outputs: Outputs = { encrypted: new Map(), plain: new Set(), starred: new Set() };
  for (const item of itemsOf(items)) addOutput(item, scope, check, outputs);
  const { encrypted, plain, starred } = outputs;
  if (isDistinct && !isDistinctOn) refuseIndistinct(outputs, check);
  if (hasPosition(on)) for (const column of encrypted.values()) check.onUse(column);
  return { encrypted, plain: new Set([...plain, ...starred]) };
}

function addOutput(
  item: readonly SqlNode[],
  scope: Scope,
  check: SelectListCheck,
  { encrypted, plain, starred }: Outputs,
): void {
  const [first] = item;
  if (first?.kind === 'star') {
    for (const source of scope.starSources(first.qualifier)) {
      for (const [name, column] of source.encrypted) encrypted.set(name, column);
      for (const name of source.plain) starred.add(name);
    }
    return;
  }
  const last = item.at(-1);
  const name = last?.kind === 'name' ? last.parts.at(-1) : undefined;
  const isNamed = isKeyword(item.at(-2), 'as');
  const length = item.length - (isNamed ? 2 : 0);
  const isColumn = length === 1 || (length === 2 && item[1]?.kind === 'name');
  const column = first?.kind === 'name' && isColumn ? scope.column(first.parts) : undefined;
  if (column !== undefined && name !== undefined) {
    encrypted.set(name, column);
    return;
  }
  check.expression(item.slice(0, length));
  if (name !== undefined) plain.add(name);
  if (first?.kind === 'name') plain.add(first.parts.at(-1) ?? '');
}

/** Ciphertexts all differ, so DISTINCT may only select rows that the primary key tells apart anyway. */
function refuseIndistinct({ encrypted, plain }: Outputs, check: SelectListCheck): void {
  for (const column of encrypted.values()) {
    const { primaryColumns } = column.column.entityMetadata;
    const isTold = primaryColumns.every(({ databaseName }) =>
      plain.has(databaseName.toLowerCase()),
    );
    if (!isTold) check.onUse(column, 'SELECT DISTINCT');
  }
}
