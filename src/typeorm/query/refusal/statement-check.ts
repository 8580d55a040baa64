import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { Installation } from '../../installation/installation';
import type { Expressions } from '../any-query-builder';
import { Tables } from './entity-tables';
import type { EntityTable } from './entity-tables';
import { assertNamesSeen, mentionsRow } from './hidden-names';
import { rawFragments, RETURNING } from './raw-fragments';
import type { Fragment } from './raw-fragments';
import { rawUse } from '../../sql/raw-use';
import { SqlCheck } from '../../sql/sql-check';
import { hasPosition } from '../../sql/sql-clauses';
import { asName, isKeyword } from '../../sql/sql-nodes';
import type { SqlNode } from '../../sql/sql-nodes';
import { sqlNodes } from '../../sql/sql-scanner';
import { Scope, UNKNOWN, WRITTEN_ROWS } from '../../sql/sql-sources';
import type { Source } from '../../sql/sql-sources';

/** In SQL that may read from a table of its own. */
const READS = /\b(?:select|table)\b/i;
/** Clauses that may mean what is selected by its place. */
const SORTING = ['ORDER BY', 'GROUP BY', 'DISTINCT ON'];
/** In what may be such a place. */
const IN_POSITION = /\d|\ball\b/i;

/**
 * Refuses hand-written SQL that uses an encrypted property as if its column held values: the database
 * would compare, sort or compute ciphertext, and parameters would carry the plaintext to it. NULL
 * checks and counting are fine.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNoRawUse(expressions: Expressions, installation: Installation): void {
  const entities = encryptedEntities(expressions, installation);
  if (expressions.selectDistinct && entities.length > 0) {
    assertDistinctRows(expressions, installation);
  }
  const derived = derivedTables(expressions, installation);
  if (derived !== undefined) assertNotAllSelected(expressions, derived);
  assertNotCopied(expressions, installation);
  const fragments = rawFragments(expressions, entities[0]);
  if (fragments.length === 0) return;
  const names = namesOf(expressions, encryptedTables(expressions, installation), derived);
  let scope: Scope | undefined;
  let writes: Scope | undefined;
  for (const { sql, clause } of fragments) {
    assertNamesSeen({ sql, clause }, installation, entities[0]);
    if (isPosition({ sql, clause })) assertNoneSelected(expressions, installation, clause);
    // Nearly all fragments concern no encrypted column, and need not be taken apart to know it.
    const isConcerned =
      mentions(sql, names) ||
      mentionsRow(sql.toLowerCase(), expressions, installation) ||
      readsEncryptedTable(sql, installation);
    if (!isConcerned) continue;
    const check = new SqlCheck(Tables.of(installation), clause, derived?.named);
    const nodes = sqlNodes(sql);
    scope ??= scopeOf(expressions, installation, derived);
    if (clause === RETURNING) check.outputs(nodes, scope);
    else check.expression(nodes, scope);
    const written = writtenNodes(nodes, clause);
    if (written.length > 0) {
      writes ??= scopeOf(expressions, installation, derived, 'written');
      check.expression(written, writes);
    }
  }
}

/**
 * Refuses a whole statement that uses an encrypted property so, no matter what built it. One that cannot be
 * taken apart is refused where it names such a property and its table.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNoUseIn(sql: string, installation: Installation): void {
  const tables = Tables.of(installation);
  assertNamesSeen({ sql, clause: 'a statement' }, installation);
  if (!mentions(sql, tables.encryptedNames)) return;
  new SqlCheck(tables, 'a statement').statement(sqlNodes(sql));
}

function encryptedEntities(
  { aliases }: Expressions,
  { encryptedEntity }: Installation,
): EncryptedEntity[] {
  const entities: EncryptedEntity[] = [];
  for (const alias of aliases) {
    const entity = alias.hasMetadata ? encryptedEntity(alias.metadata) : undefined;
    if (entity !== undefined) entities.push(entity);
  }
  return entities;
}

/** The tables of a statement that have encrypted columns, whether or not its own entities map these. */
function encryptedTables({ aliases }: Expressions, installation: Installation): EntityTable[] {
  const tables = Tables.of(installation);
  return aliases
    .map((alias) => (alias.hasMetadata ? tables.ofEntity(alias.metadata) : undefined))
    .filter((table) => table !== undefined)
    .filter(({ encryptedNames }) => encryptedNames.length > 0);
}

/** Queries in the place of tables, and tables that are not named as their entity is. */
interface DerivedTables {
  readonly byAlias: ReadonlyMap<string, Source>;
  /** Common table expressions. */
  readonly named: ReadonlyMap<string, Source>;
}

/** Takes them apart, which refuses what they themselves may not do; `undefined` for nearly all statements. */
function derivedTables(
  { aliases, commonTableExpressions }: Expressions,
  installation: Installation,
): DerivedTables | undefined {
  const derived = aliases.filter(({ hasMetadata }) => !hasMetadata);
  if (derived.length === 0 && commonTableExpressions.length === 0) return undefined;
  const tables = Tables.of(installation);
  const named = new Map<string, Source>();
  const outputs = (sql: string): Source => {
    assertNamesSeen({ sql, clause: 'a derived table' }, installation);
    return new SqlCheck(tables, 'a derived table', named).statement(sqlNodes(sql));
  };
  for (const { queryBuilder, alias, options } of commonTableExpressions) {
    const source = outputs(
      typeof queryBuilder === 'string' ? queryBuilder : queryBuilder.getQuery(),
    );
    if (options.columnNames !== undefined) assertNoneEncrypted(source, 'a derived table');
    named.set(alias.toLowerCase(), source);
  }
  const byAlias = new Map<string, Source>();
  for (const { name, subQuery, tablePath } of derived) {
    const parts = partsOfPath(tablePath ?? '');
    const table = (): Source => named.get(parts.join('.')) ?? tables.source(parts) ?? UNKNOWN;
    byAlias.set(name.toLowerCase(), subQuery === undefined ? table() : outputs(subQuery));
  }
  return { byAlias, named };
}

/** The path of a table may be quoted. */
function partsOfPath(path: string): readonly string[] {
  const [node, ...others] = sqlNodes(path).map((each) => asName(each));
  return node?.kind === 'name' && others.length === 0 ? node.parts : path.toLowerCase().split('.');
}

/** Ciphertext under another name looks like a value. */
function assertNotAllSelected(
  { queryType, aliases, mainAlias, selects }: Expressions,
  { byAlias, named }: DerivedTables,
): void {
  if (queryType !== 'select') return;
  const isEmpty = selects.length === 0 && mainAlias?.hasMetadata !== true;
  for (const { name, subQuery, tablePath } of aliases) {
    const source = byAlias.get(name.toLowerCase());
    const isDerived = subQuery !== undefined || named.has(tablePath?.toLowerCase() ?? '');
    if (source === undefined || !isDerived) continue;
    const all = ['*', name, `${name}.*`];
    if (isEmpty || selects.some(({ selection }) => all.includes(selection.trim()))) {
      assertNoneEncrypted(source, 'a derived table');
    }
  }
}

/** INSERT … SELECT, which moves ciphertext to where it cannot be decrypted. */
function assertNotCopied(expressions: Expressions, installation: Installation): void {
  const { insertFromSelect } = expressions as { insertFromSelect?: { getQuery(): string } };
  if (insertFromSelect === undefined) return;
  const clause = 'INSERT … SELECT';
  const sql = insertFromSelect.getQuery();
  assertNamesSeen({ sql, clause }, installation);
  const check = new SqlCheck(Tables.of(installation), clause);
  assertNoneEncrypted(check.statement(sqlNodes(sql)), clause);
}

function isPosition({ sql, clause }: Fragment): boolean {
  return SORTING.includes(clause) && IN_POSITION.test(sql) && hasPosition(sqlNodes(sql));
}

function assertNoneSelected(
  { aliases, selects }: Expressions,
  { encryptedEntity }: Installation,
  clause: string,
): void {
  // TypeORM selects everything where nothing is named.
  const isAll = selects.length === 0 || selects.some(({ selection }) => hasStar(selection));
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    for (const encrypted of encryptedEntity(alias.metadata)?.columns ?? []) {
      const names = [alias.name, `${alias.name}.${encrypted.column.propertyPath}`];
      if (isAll || selects.some(({ selection }) => names.includes(selection)))
        throw rawUse(encrypted, clause);
    }
  }
}

function hasStar(selection: string): boolean {
  return selection.includes('*') && sqlNodes(selection).some(({ kind }) => kind === 'star');
}

function assertNoneEncrypted({ encrypted }: Source, clause: string): void {
  for (const column of encrypted.values()) throw rawUse(column, clause);
}

/** What a fragment that concerns an encrypted column has in it: its name, or one that a selection gives. */
function namesOf(
  { selects }: Expressions,
  tables: readonly EntityTable[],
  derived: DerivedTables | undefined,
): readonly string[] {
  const [only, ...others] = tables;
  const aliased = selects.filter(({ aliasName }) => aliasName !== undefined);
  const sources = [...(derived?.byAlias ?? []), ...(derived?.named ?? [])];
  // As for every write: it is checked each time, so that nothing is copied.
  if (only !== undefined && others.length + aliased.length + sources.length === 0) {
    return only.encryptedNames;
  }
  return [
    ...tables.flatMap(({ encryptedNames }) => encryptedNames),
    ...aliased.map(({ aliasName = '' }) => aliasName.toLowerCase()),
    ...sources.flatMap(([name, { encrypted }]) =>
      encrypted.size > 0 ? [name, ...encrypted.keys()] : [],
    ),
  ];
}

/** What may assign to columns: a value, which may go on after a comma, and what follows DO. */
function writtenNodes(nodes: readonly SqlNode[], clause: string): readonly SqlNode[] {
  if (clause === 'a value') return nodes;
  if (clause !== 'ON CONFLICT') return [];
  const start = nodes.findIndex((node) => isKeyword(node, 'do'));
  return start < 0 ? [] : nodes.slice(start);
}

function mentions(sql: string, names: readonly string[]): boolean {
  const lower = sql.toLowerCase();
  return names.some((name) => lower.includes(name));
}

function readsEncryptedTable(sql: string, installation: Installation): boolean {
  return READS.test(sql) && mentions(sql, Tables.of(installation).encryptedNames);
}

/** Ciphertexts are all different, so that only rows which are told apart anyway may be selected. */
function assertDistinctRows({ aliases, selects }: Expressions, { encryptedEntity }: Installation) {
  for (const alias of aliases) {
    const entity = alias.hasMetadata ? encryptedEntity(alias.metadata) : undefined;
    if (entity === undefined || selects.some(({ selection }) => selection === alias.name)) continue;
    const paths = selects
      .filter(({ selection }) => selection.startsWith(`${alias.name}.`))
      .map(({ selection }) => selection.slice(alias.name.length + 1));
    const { primaryColumns } = alias.metadata;
    if (primaryColumns.every(({ propertyPath }) => paths.includes(propertyPath))) continue;
    const column = entity.columns.find(({ policy }) => paths.includes(policy.property));
    if (column !== undefined) throw rawUse(column, 'SELECT DISTINCT');
  }
}

/** What names mean in the statement. */
function scopeOf(
  { aliases, selects, queryType }: Expressions,
  installation: Installation,
  derived: DerivedTables | undefined,
  kind: 'source' | 'written' = 'source',
): Scope {
  const tables = Tables.of(installation);
  const scope = new Scope();
  for (const [name, source] of derived?.byAlias ?? []) scope.add(name, source);
  const outputs = new Map<string, EncryptedColumn>();
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const source = tables.ofEntity(metadata)[kind];
    const rows = queryType === 'select' ? [] : WRITTEN_ROWS;
    for (const qualifier of [metadata.tableName, metadata.tablePath, name, ...rows]) {
      scope.add(qualifier.toLowerCase(), source);
    }
    for (const [column, encrypted] of source.encrypted) {
      outputs.set(`${name}_${column}`.toLowerCase(), encrypted);
    }
  }
  for (const { selection, aliasName } of selects) {
    const column =
      aliasName === undefined ? undefined : scope.column(selection.toLowerCase().split('.'));
    if (column !== undefined) outputs.set(String(aliasName).toLowerCase(), column);
  }
  scope.nameOutputs({ encrypted: outputs, plain: new Set() });
  return scope;
}
