import { getMetadataArgsStorage } from 'typeorm';
import type { DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { IndexMetadata } from 'typeorm/metadata/IndexMetadata.js';

import { ConfigurationError, MissingScopeError, UnsupportedValueError } from '../../errors';
import { BlindIndex } from '../../field/blind-index';
import type { BlindIndexPolicy } from '../../field/blind-index';
import type { FieldPolicy } from '../../field/field-policy';
import type { KeySource } from '../../keys/key-source';
import { BlindIndexColumnGuard, guardOf, removeGuard } from '../declare/column-guard';
import type { ColumnGuard } from '../declare/column-guard';

import { setTokenForm } from './column-form';
import { policyRefused } from './encrypted-column';
import type { EncryptedColumn, IndexedColumn } from './encrypted-column';
import { tellOfFailure } from './failure-message';
import { knownRow } from './known-row';
import type { RowScope } from './row-scope';
import { indexKeys } from './scoped-keys';
import { blindIndexPolicyOf, rootEntityName } from './field-policies';
import { uniqueWithColumns } from './unique-with';

/** What the blind indexes of an encrypted column are built from. */
interface IndexContext {
  readonly policy: FieldPolicy;
  readonly application: string;
  readonly keys: KeySource;
  readonly scope: RowScope | undefined;
  readonly dataSource: DataSource;
}

/** Turns the marked index columns of an encrypted column into blind indexes, the unnamed one first. */
export function indexedColumns(
  source: ColumnMetadata,
  marked: readonly ColumnMetadata[],
  { policy, application, keys, scope, dataSource }: IndexContext,
): IndexedColumn[] {
  assertIndexNamesFree(source, marked, policy);
  const indexes: IndexedColumn[] = [];
  for (const column of marked) {
    const guard = guardOf(column);
    if (!isIndexOf(guard, column, source)) continue;
    const indexPolicy = blindIndexPolicyOf(column, guard, policy);
    const ofScope = guard.options.scope === false ? undefined : scope;
    const index = new BlindIndex(
      policy,
      indexPolicy,
      application,
      indexKeys(keys, ofScope, policy),
    );
    assertSinglePrimaryKey(source, index);
    hideIndexColumn(column, source, index, ofScope !== undefined);
    setTokenForm(column, dataSource);
    const uniqueWith = uniqueWithColumns(source, guard, policy);
    const databaseIndex = addDatabaseIndex([column, ...uniqueWith], indexPolicy.unique, dataSource);
    const isScoped = ofScope !== undefined;
    if (isScoped) assertScopeDeclared(ofScope, { policy, indexPolicy, uniqueWith });
    indexes.push({ column, policy: indexPolicy, index, isScoped, uniqueWith, databaseIndex });
  }
  return indexes.sort((a, b) => Number(a.policy.name !== '') - Number(b.policy.name !== ''));
}

/** Refuses an index whose tokens differ by scope, and which is declared as if they did not. */
function assertScopeDeclared(
  { column, kind }: RowScope,
  index: {
    readonly policy: FieldPolicy;
    readonly indexPolicy: BlindIndexPolicy;
    readonly uniqueWith: readonly ColumnMetadata[];
  },
): void {
  const { policy, indexPolicy, uniqueWith } = index;
  if (indexPolicy.previous.length > 0) {
    throw policyRefused(
      policy,
      '"previous" of a blind index with keys of scopes is not supported.',
    );
  }
  if (!indexPolicy.unique || (column !== undefined && uniqueWith.includes(column))) return;
  throw policyRefused(
    policy,
    `a unique blind index with keys for each ${kind} is unique within one only. Say so by ` +
      `"uniqueWith": ['${column?.propertyPath ?? 'the column of the scope'}'], or add "scope: false".`,
  );
}

function isIndexOf(
  guard: ColumnGuard | undefined,
  indexColumn: ColumnMetadata,
  source: ColumnMetadata,
): guard is BlindIndexColumnGuard {
  return (
    guard instanceof BlindIndexColumnGuard &&
    guard.sourceProperty === source.propertyName &&
    indexColumn.embeddedMetadata === source.embeddedMetadata
  );
}

/**
 * Makes an index column follow its source: its value is computed whenever TypeORM asks for it, and it never
 * appears in an entity.
 */
function hideIndexColumn(
  indexColumn: ColumnMetadata,
  source: ColumnMetadata,
  index: BlindIndex,
  isScoped: boolean,
): void {
  removeGuard(indexColumn);
  indexColumn.isVirtual = true;
  indexColumn.isInsert = source.isInsert;
  indexColumn.isUpdate = source.isUpdate;
  const explicitValue = indexColumn.getEntityValue.bind(indexColumn);
  indexColumn.getEntityValue = (entity, transform) => {
    const value: unknown = source.getEntityValue(entity, transform);
    if (value === undefined) return explicitValue(entity, transform) as unknown;
    if (value === null) return null;
    if (typeof value === 'function') throw sqlExpressionRefused(source);
    if (isScoped && knownRow() === undefined) return new TokenOfNoRow(source);
    try {
      return index.token(value);
    } catch (error) {
      const { entityMetadata, propertyPath: property } = source;
      const { connection, name: entity } = entityMetadata;
      throw tellOfFailure(connection, 'encrypt', error, { entity, property });
    }
  };
  indexColumn.setEntityValue = () => undefined;
}

/**
 * Stands for a token whose row, and so its scope, is not known yet: `upsert` asks whether there will be one.
 * Drivers cannot send it.
 */
class TokenOfNoRow {
  readonly #source: ColumnMetadata;

  constructor(source: ColumnMetadata) {
    this.#source = source;
  }

  toJSON(): never {
    throw new MissingScopeError(
      `${this.#source.entityMetadata.name}.${this.#source.propertyPath}: a token is wanted outside of a statement, ` +
        'where its scope is not known. Write the property through TypeORM.',
    );
  }
}

/** Adds the database index, with the token first, so that lookups by it alone can use it. */
function addDatabaseIndex(
  columns: readonly [token: ColumnMetadata, ...others: ColumnMetadata[]],
  unique: boolean,
  dataSource: DataSource,
): IndexMetadata {
  const metadata = columns[0].entityMetadata;
  const index = new IndexMetadata({
    entityMetadata: metadata,
    columns: [...columns],
    args: { target: metadata.target, unique },
  }).build(dataSource.namingStrategy);
  metadata.indices.push(index);
  if (metadata.ownIndices !== metadata.indices) metadata.ownIndices.push(index);
  return index;
}

/** Refuses two columns of one property: TypeORM takes the first, and the index of the other would be missing. */
function assertIndexNamesFree(
  { target, propertyName }: ColumnMetadata,
  hidden: readonly ColumnMetadata[],
  policy: FieldPolicy,
): void {
  const ofClass = getMetadataArgsStorage().columns.filter((args) => args.target === target);
  const names = ofClass.map((args) => args.propertyName);
  const taken =
    ofClass.find(({ propertyName: name, options }) => {
      const guard = guardOf(options);
      if (!(guard instanceof BlindIndexColumnGuard)) return false;
      const own = guard.sourceProperty === propertyName;
      return own && names.indexOf(name) !== names.lastIndexOf(name);
    })?.propertyName ?? hidden.find(hasConflict)?.propertyName;
  if (taken === undefined) return;
  throw policyRefused(
    policy,
    `another index or column has the name "${taken}" already. ` +
      'Give each @BlindIndex of the property a "name" or "columnName" of its own.',
  );
}

function hasConflict(column: ColumnMetadata): boolean {
  const guard = guardOf(column);
  return guard instanceof BlindIndexColumnGuard && guard.conflicts;
}

/** Requires what makes lookups by truncated tokens exact; see `query/lookup/deferred-parameter.ts`. */
function assertSinglePrimaryKey(column: ColumnMetadata, { isTruncated }: BlindIndex): void {
  const metadata = column.entityMetadata;
  if (!isTruncated || metadata.primaryColumns.length === 1) return;
  throw policyRefused(
    { entity: rootEntityName(metadata), property: column.propertyPath },
    '@BlindIndex({ bits }) needs an entity with one primary column, ' +
      `got ${String(metadata.primaryColumns.length)}. Leave out "bits".`,
  );
}

/**
 * Returns the index of this name, or the one that lookups use.
 *
 * @throws {@link ConfigurationError} where there is none
 */
export function indexNamed(
  { policy, indexes }: EncryptedColumn,
  name: string | undefined,
): IndexedColumn {
  const found =
    name === undefined ? indexes[0] : indexes.find((index) => index.policy.name === name);
  if (found !== undefined) return found;
  const { entity, property } = policy;
  const which = name === undefined ? 'no blind index' : `no blind index named "${name}"`;
  throw new ConfigurationError(`${entity}.${property} has ${which}. Add @BlindIndex to it.`, {
    entity,
    property,
  });
}

/** Returns the error of an SQL expression given as the value of an encrypted property. */
export function sqlExpressionRefused(column: ColumnMetadata): UnsupportedValueError {
  const entity = rootEntityName(column.entityMetadata);
  const property = column.propertyPath;
  return new UnsupportedValueError(
    `${entity}.${property}: an SQL expression would be stored in clear. Give the value itself.`,
    { entity, property },
  );
}
