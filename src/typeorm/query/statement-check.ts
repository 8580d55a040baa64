import { UnsupportedQueryError } from '../../errors';
import type { EncryptedColumn, EncryptedEntity } from '../encrypted-column';
import { describeColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import type { Expressions } from './any-query-builder';
import { isHarmless } from './harmless-reference';
import { rawFragments } from './raw-fragments';
import { columnReferences } from './sql-references';
import type { ColumnReference } from './sql-references';

/**
 * Refuses hand-written SQL that names an encrypted property: the database would compare, sort or
 * compute ciphertext, and parameters would carry the plaintext to it. NULL checks and counting are fine.
 */
export function assertNoRawUse(expressions: Expressions, installation: Installation): void {
  assertDerivedTables(expressions, installation);
  const entities = encryptedEntities(expressions, installation);
  if (entities.length === 0) return;
  if (expressions.selectDistinct) assertDistinctRows(expressions, installation);
  const fragments = rawFragments(expressions);
  if (fragments.length === 0) return;
  const names = namesOf(expressions, entities);
  let encrypted: EncryptedAliases | undefined;
  for (const { sql, clause } of fragments) {
    // Nearly all fragments name no encrypted column, and need not be taken apart to know it.
    if (!mentions(sql, names)) continue;
    encrypted ??= encryptedAliases(expressions, installation);
    const outputs = outputColumns(expressions, encrypted);
    for (const reference of columnReferences(sql)) {
      const column = resolve(reference, encrypted) ?? outputOf(reference, outputs);
      if (column === undefined || isHarmless(reference, column)) continue;
      throw rawUse(column, clause);
    }
  }
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

/** What a fragment that concerns an encrypted column has in it: its name, or one that a selection gives. */
function namesOf(
  { selects }: Expressions,
  entities: readonly EncryptedEntity[],
): readonly string[] {
  const [only, ...others] = entities;
  const aliased = selects.filter(({ aliasName }) => aliasName !== undefined);
  // As for every write: it is checked each time, so that nothing is copied.
  if (only !== undefined && others.length === 0 && aliased.length === 0) return only.namesInSql;
  return [
    ...entities.flatMap(({ namesInSql }) => namesInSql),
    ...aliased.map(({ aliasName = '' }) => aliasName.toLowerCase()),
  ];
}

function mentions(sql: string, names: readonly string[]): boolean {
  const lower = sql.toLowerCase();
  return names.some((name) => lower.includes(name));
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

/** Looks at sub-queries that stand for a table. What they select is compared by other names outside. */
function assertDerivedTables(
  { aliases, commonTableExpressions }: Expressions,
  installation: Installation,
): void {
  for (const { subQuery } of aliases) {
    if (subQuery !== undefined) assertNothingExposed(subQuery, installation);
  }
  for (const { queryBuilder } of commonTableExpressions) {
    const sql = typeof queryBuilder === 'string' ? queryBuilder : queryBuilder.getQuery();
    assertNothingExposed(sql, installation);
  }
}

function assertNothingExposed(sql: string, { columns }: Installation): void {
  const references = [...columnReferences(sql)];
  for (const [metadata, entity] of columns.byEntity) {
    const table = metadata.tableName.toLowerCase();
    if (!references.some(({ path }) => path === table)) continue;
    for (const reference of references) {
      const column = find(entity.columns, reference.path);
      if (column !== undefined && !isHarmless(reference, column)) {
        throw rawUse(column, 'a derived table');
      }
    }
  }
}

/** Encrypted columns by what may qualify them in SQL, all in lower case as SQL does not tell cases apart. */
type EncryptedAliases = ReadonlyMap<string, readonly EncryptedColumn[]>;

function encryptedAliases(expressions: Expressions, installation: Installation): EncryptedAliases {
  const aliases = new Map<string, readonly EncryptedColumn[]>();
  for (const alias of expressions.aliases) {
    if (!alias.hasMetadata) continue;
    const { metadata, name } = alias;
    const entity = installation.encryptedEntity(metadata);
    if (entity === undefined) continue;
    for (const qualifier of [metadata.tableName, metadata.tablePath, name]) {
      aliases.set(qualifier.toLowerCase(), entity.columns);
    }
  }
  return aliases;
}

/** Encrypted columns by the names that a query gives them in its result, which all clauses of SQLite may use. */
function outputColumns(
  { selects }: Expressions,
  encrypted: EncryptedAliases,
): ReadonlyMap<string, EncryptedColumn> {
  const outputs = new Map<string, EncryptedColumn>();
  for (const { selection, aliasName } of selects) {
    if (aliasName === undefined) continue;
    const [qualifier = '', ...path] = selection.toLowerCase().split('.');
    const column = find(encrypted.get(qualifier) ?? [], path.join('.'));
    if (column !== undefined) outputs.set(aliasName.toLowerCase(), column);
  }
  for (const [qualifier, columns] of encrypted) {
    for (const each of columns) {
      outputs.set(`${qualifier}_${each.column.databaseName}`.toLowerCase(), each);
    }
  }
  return outputs;
}

function outputOf(
  { qualifier, path }: ColumnReference,
  outputs: ReadonlyMap<string, EncryptedColumn>,
): EncryptedColumn | undefined {
  return qualifier === undefined ? outputs.get(path) : undefined;
}

function resolve(
  { qualifier, path, after }: ColumnReference,
  encrypted: EncryptedAliases,
): EncryptedColumn | undefined {
  if (qualifier !== undefined) return find(encrypted.get(qualifier) ?? [], path);
  // A bare name before a parenthesis is a function.
  if (/^\s*\(/.test(after)) return undefined;
  return find([...encrypted.values()].flat(), path);
}

function find(columns: readonly EncryptedColumn[], path: string): EncryptedColumn | undefined {
  return columns.find(({ column: { propertyPath, databaseName, databasePath } }) =>
    [propertyPath, databaseName, databasePath].some((name) => name.toLowerCase() === path),
  );
}

function rawUse(column: EncryptedColumn, clause: string): UnsupportedQueryError {
  const { entity, property } = column.policy;
  const remedy =
    clause === 'a where condition' || clause === 'a join condition'
      ? `Use an object condition, such as .where({ ${property}: value }), or compare the index column ` +
        `with fieldEncryption(dataSource).tokens(${entity}, '${property}', value)`
      : clause === 'a derived table'
        ? 'Select other columns there, such as the primary key, and join the entity by it'
        : 'Leave it out and do it in memory after reading';
  return new UnsupportedQueryError(
    `${describeColumn(column)} is encrypted and stands in ${clause} written as SQL. ${remedy}.`,
    { entity, property },
  );
}
