import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { describeColumn } from '../metadata/encrypted-column';
import { isKeyword } from './sql-nodes';
import type { SqlNode } from './sql-nodes';

/** In the names of parameters that hold what cleartext rows are compared with. */
export const CLEARTEXT = 'cleartext';

/** Whether a parameter of a query builder holds what cleartext rows are compared with. */
export function isCleartextParameter(name: string): boolean {
  return name.startsWith(`encrypted_${CLEARTEXT}_`);
}

/** How a lookup lists what it compares a column with that may hold cleartext rows; see `predicate.ts`. */
const CLEARTEXT_LIST = new RegExp(String.raw`^:\.\.\.encrypted_${CLEARTEXT}_\d+$`);

/** Words that take what follows for an operand. */
const BEFORE_OPERAND = ['is', 'like', 'ilike', 'glob', 'match', 'regexp', 'between', 'from', 'to'];

/** Whether the name of an encrypted column is one of the few that ciphertext can stand for. */
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

/** Whether a name is an operand of what stands before it, which binds closer than IS NULL does. */
function isCompared(before: SqlNode | undefined): boolean {
  if (before?.kind === 'symbol') return before.text !== ',';
  return isKeyword(before, ...BEFORE_OPERAND);
}

/** How TypeORM leaves rows alone that an upsert would not change: ciphertexts always do. */
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

/** The error of an encrypted column that hand-written SQL uses as if it held its values. */
export function rawUse(column: EncryptedColumn, clause: string): UnsupportedQueryError {
  const { entity, property } = column.policy;
  return new UnsupportedQueryError(
    `${describeColumn(column)} is encrypted and stands in ${clause} written as SQL. ${remedy(column, clause)}.`,
    { entity, property },
  );
}

/** The error of hand-written SQL in which an encrypted column could stand unseen. */
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

/** The error of a row with what may be a function behind it; see {@link Scope.calledRow}. */
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

/** Of such a name: what it may be, and what to write instead. */
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
    default:
      return 'Leave it out and do it in memory after reading';
  }
}
