import type { EncryptedColumn } from '../metadata/encrypted-column';

import { opaqueUse } from './opaque-sql';
import { calledUse, isHarmless, rawUse } from './raw-use';
import { selectedOutputs } from './select-list';
import {
  announcesSource,
  branchesOf,
  isQuery,
  isSubQuery,
  namedQueriesOf,
  partsOf,
  sortsByPosition,
  tableExpressionAt,
} from './sql-clauses';
import { isKeyword } from './sql-nodes';
import type { SqlNode, StarNode } from './sql-nodes';
import { joined, Scope, UNKNOWN } from './sql-sources';
import type { Catalog, Source } from './sql-sources';

/** Common table expressions by name. */
type Named = ReadonlyMap<string, Source>;

/** Notes an encrypted column that is used as if it held its values, the clause, and a name that may hide it. */
export type OnUse = (column: EncryptedColumn, clause: string, hiddenBy?: string) => void;

/** Clauses that may have `p.*` in them. */
const SELECTIONS = ['a selection', 'RETURNING', 'a sub-query'];

/** Stands before parentheses that follow nothing. */
const NOTHING: SqlNode = { kind: 'symbol', text: '' };

/**
 * A check of hand-written SQL. It finds the names that stand for encrypted columns, and refuses them where
 * ciphertext cannot stand for the value: everywhere but in NULL checks, in counting, and in a selection for
 * an outer query that does not use it.
 *
 * It leaves what it cannot parse to {@link opaqueUse}.
 */
export class SqlCheck {
  readonly #tables: Catalog;
  /** The part of the statement that the SQL is, for the error. */
  readonly #clause: string;
  readonly #named: Named;
  readonly #onUse: OnUse;

  /** @param onUse - Called for each use, instead of refusing it */
  constructor(
    tables: Catalog,
    clause: string,
    named: Named = new Map(),
    onUse: OnUse = (column, where, hiddenBy) => {
      throw hiddenBy === undefined ? rawUse(column, where) : calledUse(column, where, hiddenBy);
    },
  ) {
    this.#tables = tables;
    this.#clause = clause;
    this.#named = named;
    this.#onUse = onUse;
  }

  /** Checks a whole statement, and returns what it selects. */
  statement(nodes: readonly SqlNode[], outer?: Scope): Source {
    return isQuery(nodes) ? this.#query(nodes, outer) : this.#opaque(nodes);
  }

  /** Checks a list of outputs, in which encrypted columns may stand by themselves, and returns them. */
  outputs(list: readonly SqlNode[], scope: Scope): Source {
    return selectedOutputs(list, scope, {
      expression: (nodes) => {
        this.expression(nodes, scope);
      },
      onUse: (column, clause = this.#clause) => {
        this.#onUse(column, clause);
      },
    });
  }

  /** Checks an expression: conditions, selections, lists of these. Parentheses around it follow `within`. */
  expression(nodes: readonly SqlNode[], scope: Scope, within?: SqlNode): void {
    for (const [at, node] of nodes.entries()) {
      if (node.kind === 'group') this.#group(node.nodes, scope, nodes[at - 1]);
      else if (node.kind === 'name') this.#name(nodes, at, scope, within);
      else if (node.kind === 'star' && this.#usesAll(node, within)) {
        this.#refuseAll(scope.starSources(node.qualifier), this.#clause);
      }
    }
  }

  /** Whether `*` is more than a selection of all columns or the star of COUNT(*). */
  #usesAll({ qualifier }: StarNode, within: SqlNode | undefined): boolean {
    if (within !== undefined) return !isKeyword(within, 'count');
    return qualifier !== undefined && !SELECTIONS.includes(this.#clause);
  }

  #opaque(nodes: readonly SqlNode[]): Source {
    const column = opaqueUse(nodes, this.#tables);
    if (column !== undefined) this.#onUse(column, this.#clause);
    return UNKNOWN;
  }

  #query(nodes: readonly SqlNode[], outer?: Scope): Source {
    const [first, ...others] = nodes;
    if (first?.kind === 'group' && others.length === 0) return this.#query(first.nodes, outer);
    if (isKeyword(first, 'with')) return this.#withNamed(nodes, outer);
    const outputs = branchesOf(nodes).map((branch) => this.#branch(branch, outer));
    const [only = UNKNOWN] = outputs;
    if (outputs.length === 1) return only;
    this.#refuseAll(outputs, 'a sub-query');
    return only;
  }

  #group(nodes: readonly SqlNode[], scope: Scope, before: SqlNode | undefined): void {
    if (!isSubQuery(nodes)) {
      this.expression(nodes, scope, before ?? NOTHING);
      return;
    }
    const outputs = this.#query(nodes, scope);
    if (!isKeyword(before, 'exists')) this.#refuseAll([outputs], 'a sub-query');
  }

  #name(nodes: readonly SqlNode[], at: number, scope: Scope, within: SqlNode | undefined): void {
    const node = nodes[at];
    if (node?.kind !== 'name') return;
    const isFunction = node.parts.length === 1 && nodes[at + 1]?.kind === 'group';
    if (isFunction) return;
    // The tables that FOR UPDATE OF locks are named like rows.
    const named =
      scope.column(node.parts) ??
      (isKeyword(nodes[at - 1], 'of') ? undefined : scope.wholeRow(node.parts));
    const called = this.#tables.rowsAreValues ? scope.calledRow(node.parts) : undefined;
    const column = named ?? called;
    if (column === undefined || isHarmless(nodes, at, column)) return;
    if (nodes.length === 1 && node.isCast !== true && isKeyword(within, 'count')) return;
    const hiddenBy = named === undefined ? node.parts.join('.') : undefined;
    this.#onUse(column, this.#clause, hiddenBy);
  }

  #withNamed(nodes: readonly SqlNode[], outer: Scope | undefined): Source {
    const named = new Map(this.#named);
    const { queries, rest } = namedQueriesOf(nodes.slice(1));
    for (const { name, renamesColumns, nodes: query } of queries) {
      const outputs = this.#with(named).statement(query, outer);
      if (renamesColumns) this.#refuseAll([outputs], 'a sub-query');
      named.set(name, outputs);
    }
    return rest === undefined
      ? this.#opaque(nodes.slice(1))
      : this.#with(named).#query(rest, outer);
  }

  #with(named: Named): SqlCheck {
    return new SqlCheck(this.#tables, this.#clause, named, this.#onUse);
  }

  #branch(nodes: readonly SqlNode[], outer: Scope | undefined): Source {
    const [first, ...others] = isKeyword(nodes[0], 'all', 'distinct') ? nodes.slice(1) : nodes;
    if (isKeyword(first, 'select')) return this.#select(others, outer);
    if (first?.kind !== 'group' || !isSubQuery(first.nodes)) {
      if (outer !== undefined) this.expression(nodes, outer);
      return this.#opaque(nodes);
    }
    const outputs = this.#query(first.nodes, outer);
    const scope = new Scope(outer ?? new Scope());
    scope.nameOutputs(outputs);
    this.expression(others, scope);
    if (sortsByPosition(others)) this.#refuseAll([outputs], this.#clause);
    return outputs;
  }

  /** Checks what follows SELECT. */
  #select(nodes: readonly SqlNode[], outer: Scope | undefined): Source {
    const { list, sources, rest } = partsOf(nodes);
    // Not the outermost scope, whose sources are not rows of the statement.
    const scope = new Scope(outer ?? new Scope());
    this.#sources(sources, scope);
    this.#addOverlooked([...list, ...rest], scope);
    const outputs = this.outputs(list, scope);
    scope.nameOutputs(outputs);
    this.expression(rest, scope);
    if (sortsByPosition(rest)) this.#refuseAll([outputs], this.#clause);
    return outputs;
  }

  /** Adds the sources of a SELECT. */
  #sources(nodes: readonly SqlNode[], scope: Scope): void {
    const conditions: SqlNode[] = [];
    let isSource = true;
    for (let at = 0; at < nodes.length; at++) {
      const node = nodes[at];
      if (node === undefined) break;
      if (announcesSource(node, nodes[at + 1])) isSource = true;
      else if (isSource) {
        isSource = false;
        at = this.#source(nodes, at, scope);
      } else conditions.push(node);
    }
    this.expression(conditions, scope);
    if (nodes.some((node) => isKeyword(node, 'natural'))) {
      this.#refuseAll(scope.sources, this.#clause);
    }
  }

  /** Adds the source that begins at a node, and returns the last node that belongs to it. */
  #source(nodes: readonly SqlNode[], start: number, scope: Scope): number {
    const { node, argumentList, alias, end } = tableExpressionAt(nodes, start);
    let source = UNKNOWN;
    const names: string[] = [];
    if (node?.kind === 'group') {
      const isLateral = isKeyword(nodes[start - 1], 'lateral');
      if (isSubQuery(node.nodes)) source = this.#query(node.nodes, isLateral ? scope : scope.outer);
      else {
        this.#sources(node.nodes, scope);
        // An alias after a join in parentheses stands for all of its tables.
        source = joined([...scope.sources]);
      }
    } else if (argumentList !== undefined) this.expression([argumentList], scope);
    else if (node?.kind === 'name') {
      source = this.#table(node.parts);
      names.push(node.parts.join('.'), node.parts.at(-1) ?? '');
    }
    if (alias !== undefined) {
      names.push(alias.parts.join('.'));
      // Its columns are given other names.
      if (nodes[end + 1]?.kind === 'group') this.#refuseAll([source], 'a sub-query');
    }
    for (const name of names) scope.add(name, source);
    if (names.length === 0) scope.add('', source);
    return end;
  }

  #table(parts: readonly string[]): Source {
    return this.#named.get(parts.join('.')) ?? this.#tables.source(parts) ?? UNKNOWN;
  }

  /** Adds encrypted tables outside of the sources that were understood. */
  #addOverlooked(nodes: readonly SqlNode[], scope: Scope): void {
    for (const [at, node] of nodes.entries()) {
      if (node.kind !== 'name' || !isKeyword(nodes[at - 1], 'from', 'join')) continue;
      const source = this.#tables.source(node.parts);
      if (source !== undefined) scope.add(node.parts.join('.'), source);
    }
  }

  #refuseAll(sources: Iterable<Source>, clause: string): void {
    for (const { encrypted } of sources) {
      for (const column of encrypted.values()) this.#onUse(column, clause);
    }
  }
}
