import { dialectOf } from '../../dialect/dialect-of';
import type { Installation } from '../../installation/installation';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import { rawUse } from '../../sql/raw-use';
import { SqlCheck } from '../../sql/sql-check';
import { hasPosition } from '../../sql/sql-clauses';
import { isKeyword } from '../../sql/sql-nodes';
import type { SqlNode } from '../../sql/sql-nodes';
import { sqlNodes } from '../../sql/sql-scanner';
import { Scope, WRITTEN_ROWS } from '../../sql/sql-sources';
import type { Expressions } from '../any-query-builder';

import { assertNothingAdded, mayRead } from './added-tables';
import { assertNoneEncrypted, assertNotAllSelected, derivedTables } from './derived-tables';
import type { DerivedTables } from './derived-tables';
import { Tables } from './entity-tables';
import type { EntityTable } from './entity-tables';
import {
  assertIndexNames,
  assertNamesSeen,
  assertOneValue,
  mentionsRow,
  seenNodes,
} from './hidden-names';
import { rawFragments, RETURNING, VALUE } from './raw-fragments';
import type { Fragment } from './raw-fragments';

/** Clauses that may name a selection by its position. */
const SORTING = ['ORDER BY', 'GROUP BY', 'DISTINCT ON'];
/** Found in what may be such a position. */
const IN_POSITION = /\d|\ball\b/i;

/**
 * Refuses hand-written SQL that uses an encrypted property as if its column held values: the database
 * would compare, sort or compute with ciphertext, and parameters would carry the plaintext to it. NULL
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
  assertIndexNames(expressions, installation, entities[0]);
  const fragments = rawFragments(expressions, entities[0]);
  if (fragments.length === 0) return;
  const names = namesOf(expressions, encryptedTables(expressions, installation), derived);
  let scope: Scope | undefined;
  let writes: Scope | undefined;
  for (const { sql, clause } of fragments) {
    assertNamesSeen({ sql, clause }, installation, entities[0]);
    if (clause === VALUE) assertOneValue(sql, installation, entities[0]);
    if (isPosition({ sql, clause }, installation))
      assertNoneSelected(expressions, installation, clause);
    // Nearly all fragments concern no encrypted column, and need not be parsed to know it.
    const isConcerned =
      mentions(sql, names) ||
      mentionsRow(sql.toLowerCase(), expressions, installation) ||
      (mayRead({ sql, clause }) && (names.length > 0 || Tables.of(installation).mentionedIn(sql)));
    if (!isConcerned) continue;
    const check = new SqlCheck(Tables.of(installation), clause, derived?.named);
    const nodes = seenNodes({ sql, clause }, installation, entities[0]);
    scope ??= scopeOf(expressions, installation, derived);
    assertNothingAdded(nodes, clause, scope, installation);
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
 * parsed is refused if it names such a property and its table.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertNoUseIn(sql: string, installation: Installation): void {
  const tables = Tables.of(installation);
  const statement = { sql, clause: 'a statement' };
  assertNamesSeen(statement, installation);
  if (!tables.mentionedIn(sql)) return;
  new SqlCheck(tables, statement.clause).statement(seenNodes(statement, installation));
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

/** Returns the tables of a statement that have encrypted columns, whether or not its own entities map these. */
function encryptedTables({ aliases }: Expressions, installation: Installation): EntityTable[] {
  const tables = Tables.of(installation);
  return aliases
    .map((alias) => (alias.hasMetadata ? tables.ofEntity(alias.metadata) : undefined))
    .filter((table) => table !== undefined)
    .filter(({ encryptedNames }) => encryptedNames.length > 0);
}

/** Refuses INSERT … SELECT of ciphertext, which could not be decrypted in another column. */
function assertNotCopied(expressions: Expressions, installation: Installation): void {
  const { insertFromSelect } = expressions as { insertFromSelect?: { getQuery(): string } };
  if (insertFromSelect === undefined) return;
  const clause = 'INSERT … SELECT';
  const fragment = { sql: insertFromSelect.getQuery(), clause };
  assertNamesSeen(fragment, installation);
  const tables = Tables.of(installation);
  if (!tables.mentionedIn(fragment.sql)) return;
  const nodes = seenNodes(fragment, installation);
  const check = new SqlCheck(tables, clause);
  assertNoneEncrypted(check.statement(nodes), clause);
}

function isPosition({ sql, clause }: Fragment, { dataSource }: Installation): boolean {
  if (!SORTING.includes(clause) || !IN_POSITION.test(sql)) return false;
  return hasPosition(sqlNodes(sql, dialectOf(dataSource).lexicalRules));
}

function assertNoneSelected(
  { aliases, selects }: Expressions,
  { dataSource, encryptedEntity }: Installation,
  clause: string,
): void {
  const { lexicalRules } = dialectOf(dataSource);
  const hasStar = ({ selection }: { readonly selection: string }): boolean =>
    selection.includes('*') &&
    sqlNodes(selection, lexicalRules).some(({ kind }) => kind === 'star');
  // TypeORM selects everything if nothing is named.
  const isAll = selects.length === 0 || selects.some(hasStar);
  for (const alias of aliases) {
    if (!alias.hasMetadata) continue;
    for (const encrypted of encryptedEntity(alias.metadata)?.columns ?? []) {
      const names = [alias.name, `${alias.name}.${encrypted.column.propertyPath}`];
      if (isAll || selects.some(({ selection }) => names.includes(selection)))
        throw rawUse(encrypted, clause);
    }
  }
}

/** Returns the names in fragments that concern encrypted columns: their own, and those that selections give. */
function namesOf(
  { selects }: Expressions,
  tables: readonly EntityTable[],
  derived: DerivedTables | undefined,
): readonly string[] {
  const [only, ...others] = tables;
  const aliased = selects.filter(({ aliasName }) => aliasName !== undefined);
  const sources = [...(derived?.byAlias ?? []), ...(derived?.named ?? [])];
  // As for every write, which is checked each time: so nothing is copied.
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

/** Returns the nodes that may assign to columns: a value, which may go on after a comma, and what follows DO. */
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

/** Refuses DISTINCT over ciphertexts, which all differ, unless the primary key tells the rows apart anyway. */
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

/** Returns the meaning of names in the statement. */
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
