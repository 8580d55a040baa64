import { isKeyword, isSymbol } from './sql-nodes';
import type { NameNode, SqlNode } from './sql-nodes';

/** What begins the part of a SELECT that follows its sources. */
const AFTER_FROM = ['where', 'having', 'window', 'limit', 'offset', 'fetch', 'for'];
/** What stands between two sources, or before one. */
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
/** What may follow a source and is no alias of it. */
const NO_ALIAS = [...JOINS, ...AFTER_FROM, 'on', 'using', 'tablesample', 'group', 'order', 'set'];

/** What may stand before the place of a selection, and SQLite's functions that mean what they are given. */
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

/** The parts of a query that set operators put together. */
export function branchesOf(nodes: readonly SqlNode[]): (readonly SqlNode[])[] {
  return split(nodes, (node) => isKeyword(node, ...SET_OPERATORS));
}

/** What commas separate. */
export function itemsOf(nodes: readonly SqlNode[]): (readonly SqlNode[])[] {
  return split(nodes, (node) => isSymbol(node, ','));
}

/** What follows SELECT: the list of selections, the sources, and all other clauses. */
export interface SelectParts {
  readonly list: readonly SqlNode[];
  readonly sources: readonly SqlNode[];
  readonly rest: readonly SqlNode[];
}

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
  return isKeyword(node, ...JOINS) && !(isKeyword(node, 'left', 'right') && next?.kind === 'group');
}

/** Whether the node after a source is an alias of it. */
export function isAlias(node: SqlNode | undefined): node is NameNode {
  return node?.kind === 'name' && !isKeyword(node, ...NO_ALIAS);
}

/** Whether the nodes in parentheses are a query, so far as their beginning tells. */
export function isQuery(nodes: readonly SqlNode[]): boolean {
  const [first, second] = nodes;
  if (first?.kind !== 'group') return isKeyword(first, 'select', 'with', 'table');
  if (!isQuery(first.nodes)) return false;
  return second === undefined || isKeyword(second, ...SET_OPERATORS, 'order', 'limit', 'offset');
}

/** A list of nodes, and those within its parentheses. */
export function* withinGroups(nodes: readonly SqlNode[]): Generator<readonly SqlNode[]> {
  yield nodes;
  for (const node of nodes) if (node.kind === 'group') yield* withinGroups(node.nodes);
}

function beginsAfterFrom(nodes: readonly SqlNode[], node: SqlNode, at: number): boolean {
  if (isKeyword(node, 'group', 'order')) return isKeyword(nodes[at + 1], 'by');
  return isKeyword(node, ...AFTER_FROM);
}

/** Whether an ORDER BY or GROUP BY of a query has the place of a selection in it. */
export function sortsByPosition(nodes: readonly SqlNode[]): boolean {
  return nodes.some((node, at) => isKeyword(node, 'by') && hasPosition(nodes.slice(at + 1)));
}

/** Whether a list to sort or group by has the place of a selection in it: `2`, `-(-2)`, ROLLUP (2). */
export function hasPosition(list: readonly SqlNode[]): boolean {
  const end = list.findIndex((node) => isKeyword(node, ...AFTER_FROM));
  return itemsOf(end < 0 ? list : list.slice(0, end)).some(isPosition);
}

/** Doubt counts as one: a comment whose end is not known, and words behind a number. */
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
