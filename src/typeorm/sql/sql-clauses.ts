import { asName, isKeyword, isSymbol } from './sql-nodes';
import type { NameNode, SqlNode } from './sql-nodes';

/** Keywords that begin the part of a SELECT after its sources. */
const AFTER_FROM = ['where', 'having', 'window', 'limit', 'offset', 'fetch', 'for'];
/** Keywords between two sources, or before one. */
const JOINS = [
  'join',
  'inner',
  'left',
  'right',
  'full',
  'outer',
  'cross',
  'natural',
  'lateral',
  'only',
];
const SET_OPERATORS = ['union', 'except', 'intersect'];
/** Keywords that may follow a source and are not an alias of it. */
const NO_ALIAS = [...JOINS, ...AFTER_FROM, 'on', 'using', 'tablesample', 'group', 'order', 'set'];

/** Those that are names to some databases, as are all to some after AS. What follows tells, to all. */
const SOMETIMES_ALIAS = [
  ...['only', 'full', 'lateral', 'tablesample', 'window', 'offset', 'fetch', 'for', 'limit', 'set'],
];
/** Keywords that may follow an alias. */
const AFTER_ALIAS = [...NO_ALIAS, 'use', 'force', 'ignore', 'partition', 'indexed', 'not'];

/** Words that may stand before a position, and SQLite's functions that return what they are given. */
const BEFORE_POSITION = [
  'all',
  'distinct',
  'rollup',
  'cube',
  'grouping',
  'sets',
  'likely',
  'unlikely',
  'likelihood',
];

/** Splits a query at its set operators. */
export function branchesOf(nodes: readonly SqlNode[]): (readonly SqlNode[])[] {
  return split(nodes, (node) => isKeyword(node, ...SET_OPERATORS));
}

/** Splits a list at its commas. */
export function itemsOf(nodes: readonly SqlNode[]): (readonly SqlNode[])[] {
  return split(nodes, (node) => isSymbol(node, ','));
}

/** The nodes after SELECT: the select list, the sources, and all other clauses. */
export interface SelectParts {
  readonly list: readonly SqlNode[];
  readonly sources: readonly SqlNode[];
  readonly rest: readonly SqlNode[];
}

/** Splits what follows SELECT. */
export function partsOf(nodes: readonly SqlNode[]): SelectParts {
  // Not the one of IS DISTINCT FROM.
  const from = nodes.findIndex(
    (node, at) => isKeyword(node, 'from') && !(at > 1 && isKeyword(nodes[at - 1], 'distinct')),
  );
  if (from < 0) return { list: nodes, sources: [], rest: [] };
  const tail = nodes.slice(from + 1);
  const after = tail.findIndex((node, at) => beginsAfterFrom(tail, node, at));
  const end = after < 0 ? tail.length : after;
  return { list: nodes.slice(0, from), sources: tail.slice(0, end), rest: tail.slice(end) };
}

/** Whether a node announces a source: LEFT and RIGHT before parentheses are functions. */
export function announcesSource(node: SqlNode, next: SqlNode | undefined): boolean {
  if (isSymbol(node, ',')) return true;
  if (isNameBefore(node, next)) return false;
  return isKeyword(node, ...JOINS) && !(isKeyword(node, 'left', 'right') && next?.kind === 'group');
}

/** An item of FROM, as it is written. */
export interface TableExpression {
  readonly node: SqlNode | undefined;
  /** The arguments of a function in place of a table. */
  readonly argumentList: SqlNode | undefined;
  readonly alias: NameNode | undefined;
  /** The place of its last node, apart from a list of names for its columns. */
  readonly end: number;
}

/** Parses the item of FROM that begins at a node. */
export function tableExpressionAt(nodes: readonly SqlNode[], start: number): TableExpression {
  const node = asName(nodes[start]);
  const next = nodes[start + 1];
  const argumentList = node?.kind === 'name' && next?.kind === 'group' ? next : undefined;
  let end = argumentList === undefined ? start : start + 1;
  // PostgreSQL has it after tables that others inherit from.
  if (isSymbol(nodes[end + 1], '*')) end += 1;
  const hasAs = isKeyword(nodes[end + 1], 'as');
  if (hasAs) end += 1;
  const named = asName(nodes[end + 1]);
  const isNamed = hasAs || isAlias(named) || isAliasBefore(named, nodes[end + 2]);
  const alias = isNamed && named?.kind === 'name' ? named : undefined;
  return { node, argumentList, alias, end: alias === undefined ? end : end + 1 };
}

/** A common table expression. */
interface NamedQuery {
  readonly name: string;
  /** Whether a list of names follows the name. */
  readonly renamesColumns: boolean;
  readonly nodes: readonly SqlNode[];
}

/** Splits what follows WITH. Without `rest`, it is understood only as far as its `queries`. */
export function namedQueriesOf(nodes: readonly SqlNode[]): {
  readonly queries: readonly NamedQuery[];
  readonly rest?: readonly SqlNode[];
} {
  const queries: NamedQuery[] = [];
  let at = isKeyword(nodes[0], 'recursive') ? 1 : 0;
  for (;;) {
    const name = nodes[at];
    const renamesColumns = nodes[at + 1]?.kind === 'group';
    at += renamesColumns ? 2 : 1;
    while (isKeyword(nodes[at], 'as', 'not', 'materialized')) at += 1;
    const query = nodes[at];
    if (name?.kind !== 'name' || query?.kind !== 'group') return { queries };
    queries.push({ name: name.parts.join('.'), renamesColumns, nodes: query.nodes });
    if (!isSymbol(nodes[at + 1], ',')) return { queries, rest: nodes.slice(at + 1) };
    at += 2;
  }
}

/** Whether the node after a source is an alias of it. */
export function isAlias(node: SqlNode | undefined): node is NameNode {
  return node?.kind === 'name' && !isKeyword(node, ...NO_ALIAS);
}

/** Whether a keyword of some databases is the name or alias of a source, as what follows it shows. */
function isNameBefore(node: SqlNode | undefined, next: SqlNode | undefined): boolean {
  if (!isKeyword(node, ...SOMETIMES_ALIAS)) return false;
  return next === undefined || isSymbol(next, ',') || isKeyword(next, ...AFTER_ALIAS);
}

/** {@link isNameBefore} for an alias, after which names of its columns may stand. */
function isAliasBefore(node: SqlNode | undefined, next: SqlNode | undefined): boolean {
  if (next?.kind !== 'group') return isNameBefore(node, next);
  const isRenaming = next.nodes.every((each) => each.kind === 'name' || isSymbol(each, ','));
  return isRenaming && isKeyword(node, ...SOMETIMES_ALIAS);
}

/** Whether the nodes in parentheses are a query, as far as their beginning tells. */
export function isQuery(nodes: readonly SqlNode[]): boolean {
  const [first, second] = nodes;
  if (first?.kind !== 'group') return isKeyword(first, 'select', 'with', 'table');
  if (!isQuery(first.nodes)) return false;
  return second === undefined || isKeyword(second, ...SET_OPERATORS, 'order', 'limit', 'offset');
}

/** Whether the nodes in parentheses are a query, also one that begins with VALUES or parentheses. */
export function isSubQuery(nodes: readonly SqlNode[]): boolean {
  return isQuery(nodes) || nodes.some((node) => isKeyword(node, ...SET_OPERATORS));
}

/** Finds the word outside of parentheses by which an expression adds rows of other tables to its statement. */
export function addedQuery(nodes: readonly SqlNode[], isJoin: boolean): string | undefined {
  const at = nodes.findIndex((node, i) => {
    if (isKeyword(node, 'from')) return !isKeyword(nodes[i - 1], 'distinct');
    return isKeyword(node, ...SET_OPERATORS, 'join') || (isJoin && isSymbol(node, ','));
  });
  const found = nodes[at];
  if (found?.kind === 'name') return found.parts.join('').toUpperCase();
  return found === undefined ? undefined : 'a comma';
}

/** Yields a list of nodes, and those within its parentheses. */
export function* withinGroups(nodes: readonly SqlNode[]): Generator<readonly SqlNode[]> {
  yield nodes;
  for (const node of nodes) if (node.kind === 'group') yield* withinGroups(node.nodes);
}

function beginsAfterFrom(nodes: readonly SqlNode[], node: SqlNode, at: number): boolean {
  if (isKeyword(node, 'group', 'order')) return isKeyword(nodes[at + 1], 'by');
  return isKeyword(node, ...AFTER_FROM) && !isAliasBefore(node, nodes[at + 1]);
}

/** Whether an ORDER BY or GROUP BY of a query names a selection by its position. */
export function sortsByPosition(nodes: readonly SqlNode[]): boolean {
  return nodes.some((node, at) => isKeyword(node, 'by') && hasPosition(nodes.slice(at + 1)));
}

/** Whether a list to sort or group by names a selection by its position: `2`, `-(-2)`, ROLLUP (2). */
export function hasPosition(list: readonly SqlNode[]): boolean {
  const end = list.findIndex((node) => isKeyword(node, ...AFTER_FROM));
  return itemsOf(end < 0 ? list : list.slice(0, end)).some(isPosition);
}

/** Whether an item is, or may be, a position: also a comment whose end is not known, and words after a number. */
function isPosition(item: readonly SqlNode[]): boolean {
  if (item.some((node, at) => isSymbol(node, '/') && isSymbol(item[at + 1], '*'))) return true;
  const start = item.findIndex((node) => !standsBeforePosition(node));
  const [place, next] = start < 0 ? [] : item.slice(start);
  if (place === undefined) return isKeyword(item[0], 'all');
  if (next !== undefined && next.kind !== 'name' && !isSymbol(next, ';')) return false;
  return place.kind === 'group' ? hasPosition(place.nodes) : isNumber(place);
}

function standsBeforePosition(node: SqlNode): boolean {
  if (node.kind === 'name') return BEFORE_POSITION.includes(node.parts.join('.'));
  return isSymbol(node, '+') || isSymbol(node, '-');
}

function isNumber(node: SqlNode): boolean {
  return node.kind === 'value' && /^\d/.test(node.text);
}

function split(
  nodes: readonly SqlNode[],
  separates: (node: SqlNode) => boolean,
): (readonly SqlNode[])[] {
  const parts: SqlNode[][] = [[]];
  for (const node of nodes) {
    if (separates(node)) parts.push([]);
    else parts.at(-1)?.push(node);
  }
  return parts;
}
