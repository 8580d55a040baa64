import type { EncryptedColumn } from '../metadata/encrypted-column';
import { opaqueUse } from './opaque-sql';
import { calledUse, isHarmless, rawUse } from './raw-use';
import {
  announcesSource,
  branchesOf,
  hasPosition,
  isAlias,
  isQuery,
  itemsOf,
  partsOf,
  sortsByPosition,
} from './sql-clauses';
import { asName, isKeyword, isSymbol } from './sql-nodes';
import type { SqlNode, StarNode } from './sql-nodes';
import { joined, Scope, UNKNOWN } from './sql-sources';
import type { Catalog, Source } from './sql-sources';

/** Common table expressions by name. */
type Named = ReadonlyMap<string, Source>;

/**
 * Takes note of an encrypted column that is used as if it held its values, and where; of one that a
 * name may hide, with the name.
 */
export type OnUse = (column: EncryptedColumn, clause: string, hiddenBy?: string) => void;

/** The names of what is selected, as they are found. */
interface Outputs {
  readonly encrypted: Map<string, EncryptedColumn>;
  readonly plain: Set<string>;
  /** Those of them that only `*` stands for. */
  readonly starred: Set<string>;
}

/** Clauses that may have `p.*` in them. */
const SELECTIONS = ['a selection', 'RETURNING', 'a sub-query'];

/** What stands before parentheses that follow nothing. */
const NOTHING: SqlNode = { kind: 'symbol', text: '' };

/**
 * Takes hand-written SQL apart as far as it has to be understood to know which names in it stand for
 * encrypted columns, and refuses those where ciphertext cannot stand for the value: all but NULL
 * checks, counting, and selecting it for a query outside that does not use it.
 *
 * What it does not understand it leaves to {@link opaqueUse}.
 */
export class SqlCheck {
  readonly #tables: Catalog;
  /** Where in the statement the SQL stands, for the error. */
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

  /** A whole statement, by what it selects. */
  statement(nodes: readonly SqlNode[], outer?: Scope): Source {
    return isQuery(nodes) ? this.#query(nodes, outer) : this.#opaque(nodes);
  }

  /** A list of what is handed out, in which encrypted columns may stand by themselves. */
  outputs(nodes: readonly SqlNode[], scope: Scope): void {
    this.#selections(nodes, scope);
  }

  /** An expression: conditions, selections, lists of these. `within` is what the parentheses around it follow. */
  expression(nodes: readonly SqlNode[], scope: Scope, within?: SqlNode): void {
    for (const [at, node] of nodes.entries()) {
      if (node.kind === 'group') this.#group(node.nodes, scope, nodes[at - 1]);
      else if (node.kind === 'name') this.#name(nodes, at, scope, within);
      else if (node.kind === 'star' && this.#usesAll(node, within)) {
        this.#refuseAll(starSources(scope, node.qualifier), this.#clause);
      }
    }
  }

  /** Whether `*` is more than a selection of all columns, or what COUNT has. */
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
    if (isKeyword(first, 'with')) return this.#withNamed(others, outer);
    const outputs = branchesOf(nodes).map((branch) => this.#branch(branch, outer));
    const [only = UNKNOWN] = outputs;
    if (outputs.length === 1) return only;
    this.#refuseAll(outputs, 'a sub-query');
    return only;
  }

  #group(nodes: readonly SqlNode[], scope: Scope, before: SqlNode | undefined): void {
    if (!isQuery(nodes)) {
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
    let at = isKeyword(nodes[0], 'recursive') ? 1 : 0;
    for (;;) {
      const name = nodes[at];
      const isRenamed = nodes[at + 1]?.kind === 'group';
      at += isRenamed ? 2 : 1;
      while (isKeyword(nodes[at], 'as', 'not', 'materialized')) at += 1;
      const query = nodes[at];
      if (name?.kind !== 'name' || query?.kind !== 'group') return this.#opaque(nodes);
      const outputs = this.#with(named).statement(query.nodes, outer);
      if (isRenamed) this.#refuseAll([outputs], 'a sub-query');
      named.set(name.parts.join('.'), outputs);
      at += 1;
      if (!isSymbol(nodes[at], ',')) break;
      at += 1;
    }
    return this.#with(named).#query(nodes.slice(at), outer);
  }

  #with(named: Named): SqlCheck {
    return new SqlCheck(this.#tables, this.#clause, named, this.#onUse);
  }

  #branch(nodes: readonly SqlNode[], outer: Scope | undefined): Source {
    const [first, ...others] = isKeyword(nodes[0], 'all', 'distinct') ? nodes.slice(1) : nodes;
    if (isKeyword(first, 'select')) return this.#select(others, outer);
    if (first?.kind !== 'group' || !isQuery(first.nodes)) return this.#opaque(nodes);
    const outputs = this.#query(first.nodes, outer);
    const scope = new Scope(outer ?? new Scope());
    scope.nameOutputs(outputs);
    this.expression(others, scope);
    if (sortsByPosition(others)) this.#refuseAll([outputs], this.#clause);
    return outputs;
  }

  /** What follows SELECT. */
  #select(nodes: readonly SqlNode[], outer: Scope | undefined): Source {
    const { list, sources, rest } = partsOf(nodes);
    // Not the outermost one, whose sources are no rows of the statement.
    const scope = new Scope(outer ?? new Scope());
    this.#sources(sources, scope);
    this.#addOverlooked([...list, ...rest], scope);
    const outputs = this.#selections(list, scope);
    scope.nameOutputs(outputs);
    this.expression(rest, scope);
    if (sortsByPosition(rest)) this.#refuseAll([outputs], this.#clause);
    return outputs;
  }

  /** The sources of a SELECT. */
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

  /** Adds the source that begins at a node, and answers the last node that belongs to it. */
  #source(nodes: readonly SqlNode[], start: number, scope: Scope): number {
    let at = start;
    const node = asName(nodes[at]);
    let source = UNKNOWN;
    const names: string[] = [];
    if (node?.kind === 'group') {
      const isLateral = isKeyword(nodes[at - 1], 'lateral');
      if (isQuery(node.nodes)) source = this.#query(node.nodes, isLateral ? scope : scope.outer);
      else {
        this.#sources(node.nodes, scope);
        // An alias after a join in parentheses stands for all of its tables.
        source = joined([...scope.sources]);
      }
    } else if (node?.kind === 'name' && nodes[at + 1]?.kind === 'group') {
      at += 1;
      this.expression(nodes.slice(at, at + 1), scope);
    } else if (node?.kind === 'name') {
      source = this.#table(node.parts);
      names.push(node.parts.join('.'), node.parts.at(-1) ?? '');
    }
    // PostgreSQL has it after tables that others inherit from.
    if (isSymbol(nodes[at + 1], '*')) at += 1;
    if (isKeyword(nodes[at + 1], 'as')) at += 1;
    const alias = asName(nodes[at + 1]);
    if (isAlias(alias)) {
      names.push(alias.parts.join('.'));
      at += 1;
      // Its columns are given other names.
      if (nodes[at + 1]?.kind === 'group') this.#refuseAll([source], 'a sub-query');
    }
    for (const name of names) scope.add(name, source);
    if (names.length === 0) scope.add('', source);
    return at;
  }

  #table(parts: readonly string[]): Source {
    return this.#named.get(parts.join('.')) ?? this.#tables.source(parts) ?? UNKNOWN;
  }

  /** Encrypted tables whose place was not understood. */
  #addOverlooked(nodes: readonly SqlNode[], scope: Scope): void {
    for (const [at, node] of nodes.entries()) {
      if (node.kind !== 'name' || !isKeyword(nodes[at - 1], 'from', 'join')) continue;
      const source = this.#tables.source(node.parts);
      if (source !== undefined) scope.add(node.parts.join('.'), source);
    }
  }

  #selections(list: readonly SqlNode[], scope: Scope): Source {
    let items = list;
    const isDistinct = isKeyword(items[0], 'distinct');
    if (isDistinct || isKeyword(items[0], 'all')) items = items.slice(1);
    const isDistinctOn = isDistinct && isKeyword(items[0], 'on');
    const on = isDistinctOn ? items.slice(1, 2) : [];
    this.expression(on, scope);
    if (isDistinctOn) items = items.slice(2);
    const encrypted = new Map<string, EncryptedColumn>();
    const plain = new Set<string>();
    const starred = new Set<string>();
    for (const item of itemsOf(items)) {
      this.#selection(item, scope, { encrypted, plain, starred });
    }
    if (isDistinct && !isDistinctOn) this.#refuseIndistinct(encrypted, plain);
    const outputs = { encrypted, plain: new Set([...plain, ...starred]) };
    if (hasPosition(on)) this.#refuseAll([outputs], this.#clause);
    return outputs;
  }

  #selection(item: readonly SqlNode[], scope: Scope, { encrypted, plain, starred }: Outputs): void {
    const [first] = item;
    if (first?.kind === 'star') {
      for (const source of starSources(scope, first.qualifier)) {
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
    this.expression(item.slice(0, length), scope);
    if (name !== undefined) plain.add(name);
    if (first?.kind === 'name') plain.add(first.parts.at(-1) ?? '');
  }

  /** Ciphertexts are all different: only rows which are told apart anyway may be selected. */
  #refuseIndistinct(
    encrypted: ReadonlyMap<string, EncryptedColumn>,
    plain: ReadonlySet<string>,
  ): void {
    for (const column of encrypted.values()) {
      const { primaryColumns } = column.column.entityMetadata;
      const isTold = primaryColumns.every(({ databaseName }) =>
        plain.has(databaseName.toLowerCase()),
      );
      if (!isTold) this.#onUse(column, 'SELECT DISTINCT');
    }
  }

  #refuseAll(sources: Iterable<Source>, clause: string): void {
    for (const { encrypted } of sources) {
      for (const column of encrypted.values()) this.#onUse(column, clause);
    }
  }
}

function starSources(scope: Scope, qualifier: string | undefined): Iterable<Source> {
  const named = qualifier === undefined ? undefined : scope.source(qualifier);
  return named === undefined ? scope.sources : [named];
}
