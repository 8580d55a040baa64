import { UnsupportedQueryError } from '../../errors';
import { describeColumn, queryRefused } from '../metadata/encrypted-column';
import type { EncryptedColumn } from '../metadata/encrypted-column';

import { isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';

/** Part of the names of parameters that are compared with cleartext rows. */
export const CLEARTEXT = 'cleartext';

/** Whether a parameter of a query builder is compared with cleartext rows. */
export function isCleartextParameter(name: string): boolean {
  return name.startsWith(`encrypted_${CLEARTEXT}_`);
}

/** The list in which a lookup gives the values that cleartext rows may hold; see `predicate.ts`. */
const CLEARTEXT_LIST = new RegExp(String.raw`^:\.\.\.encrypted_${CLEARTEXT}_\d+$`);

/** Keywords that an operand follows. */
const BEFORE_OPERAND = [
  ...['is', 'like', 'ilike', 'rlike', 'glob', 'match', 'regexp', 'between', 'from', 'to'],
  ...['div', 'mod'],
];

/** Whether an encrypted column is named in one of the few places where ciphertext can stand for the value. */
export function isHarmless(
  nodes: readonly SqlNode[],
  at: number,
  { readsPlaintext }: EncryptedColumn,
): boolean {
  const node = nodes[at];
  if (node?.kind === 'name' && node.isCast === true) return false;
  const [first, second, third] = nodes.slice(at + 1, at + 4);
  if (isKeyword(first, 'in')) return readsPlaintext && isCleartextList(second);
  if (isKeyword(first, 'is') && isKeyword(isKeyword(second, 'not') ? third : second, 'null')) {
    return !isCompared(nodes[at - 1]);
  }
  return isUnchangedTest(nodes, at) || isUnchangedTest(nodes, at - 4);
}

/** Whether a name is an operand of what stands before it, which binds more tightly than IS NULL. */
function isCompared(before: SqlNode | undefined): boolean {
  if (before?.kind === 'symbol') return before.text !== ',';
  return isKeyword(before, ...BEFORE_OPERAND);
}

/** Whether this is TypeORM's test that an upsert would change the row: ciphertexts always do. */
function isUnchangedTest(nodes: readonly SqlNode[], start: number): boolean {
  const [column, is, distinct, from, excluded] = nodes.slice(Math.max(start, 0), start + 5);
  if (column?.kind !== 'name' || excluded?.kind !== 'name') return false;
  return (
    isKeyword(is, 'is') &&
    isKeyword(distinct, 'distinct') &&
    isKeyword(from, 'from') &&
    excluded.parts.join('.') === `excluded.${column.parts.at(-1) ?? ''}`
  );
}

function isCleartextList(node: SqlNode | undefined): boolean {
  if (node?.kind !== 'group' || node.nodes.length !== 1) return false;
  const [list] = node.nodes;
  return list?.kind === 'parameter' && CLEARTEXT_LIST.test(list.text);
}

/** The clause that sorts results which are asked for in no order: the only one that is not written as SQL. */
export const DEFAULT_ORDER = 'the option "orderBy" of its entity';

/** Returns the error of hand-written SQL that uses an encrypted column as if it held its values. */
export function rawUse(column: EncryptedColumn, clause: string): UnsupportedQueryError {
  const where = clause === DEFAULT_ORDER ? clause : `${clause} written as SQL`;
  return queryRefused(column, `is encrypted and stands in ${where}. ${remedy(column, clause)}.`);
}

/** Returns the error of hand-written SQL that could name an encrypted column unseen. */
export function hiddenUse(
  column: EncryptedColumn,
  clause: string,
  what: string,
): UnsupportedQueryError {
  const { entity, property } = column.policy;
  return new UnsupportedQueryError(
    `${clause} written as SQL has ${what}, which could name an encrypted column such as ` +
      `${describeColumn(column)} unseen. Write plain names, or run it with query() if it uses none.`,
    { entity, property },
  );
}

/** Returns the error of a row that a possible function follows; see {@link Scope.calledRow}. */
export function calledUse(
  column: EncryptedColumn,
  clause: string,
  name: string,
): UnsupportedQueryError {
  const { entity, property } = column.policy;
  return new UnsupportedQueryError(
    `${clause} written as SQL has ${name}, ${unmappedOrFunction(column, name)}`,
    { entity, property },
  );
}

/** Says what such a name may be, and what to write instead. */
export function unmappedOrFunction(column: EncryptedColumn, name: string): string {
  const last = name.split('.').at(-1) ?? '';
  return (
    'a column that no property maps, or a function that PostgreSQL calls with the whole row, and with it ' +
    `${describeColumn(column)}. Map the column, with select: false where entities are not to have it, or write ` +
    `"${last}" without the name of its table.`
  );
}

function remedy({ policy: { entity, property } }: EncryptedColumn, clause: string): string {
  switch (clause) {
    case 'a where condition':
    case 'a join condition':
      return (
        `Use an object condition, such as .where({ ${property}: value }), or compare the index column ` +
        `with fieldEncryption(dataSource).tokens(${entity}, '${property}', value)`
      );
    case 'a derived table':
    case 'a sub-query':
      return 'Select other columns there, such as the primary key, and join the entity by it';
    case 'a value':
      return `Give the value of ${property} itself, from which its index columns are computed, too`;
    case 'a statement':
      return (
        'Make it with a query builder of the copy of TypeORM that has made the DataSource ' +
        '("npm ls typeorm" shows whether there are others)'
      );
    case 'a selection':
      return 'Compute it after reading; sum(), average(), minimum() and maximum() make such a selection, too';
    default:
      return 'Leave it out and do it in memory after reading';
  }
}
