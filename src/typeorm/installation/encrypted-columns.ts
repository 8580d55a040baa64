import { getMetadataArgsStorage } from 'typeorm';
import type { DataSource, EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ConfigurationError } from '../../errors';
import type { InvalidFieldPolicyError } from '../../errors';
import { FieldCipher } from '../../field/field-cipher';
import type { KeySource } from '../../keys/key-source';
import {
  BlindIndexColumnGuard,
  EncryptedColumnGuard,
  guardOf,
  isMarkedByOther,
  ONE_COPY,
  overlookedGuardProperties,
  removeGuard,
} from '../declare/column-guard';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { rowBindingOf } from '../metadata/bound-columns';
import { addCiphertextCheck } from '../metadata/ciphertext-check';
import { assertNoneStoredByOthers } from '../metadata/column-checks';
import { COMPARED_AS, setCiphertextForm } from '../metadata/column-form';
import { describeColumn, policyRefused } from '../metadata/encrypted-column';
import type {
  EncryptedColumn,
  EncryptedColumns,
  EncryptedEntity,
  ScopedColumns,
} from '../metadata/encrypted-column';
import { fieldPolicyOf, rootEntityName } from '../metadata/field-policies';
import { indexedColumns } from '../metadata/index-columns';
import { keysOfScope, ScopeKinds } from '../metadata/scoped-keys';
import { assertUniquenessDeclared } from '../metadata/unique-with';
import { assertNotConstrained } from '../sql/constraint-checks';
import { keepOwnColumnNames } from '../tables/own-tables';

/** A DataSource with freshly built metadata, and what encrypts its columns. */
interface EncryptionContext {
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly keys: KeySource;
  readonly scopes: ScopeKinds;
}

/** The hidden columns of an entity, and those of its encrypted ones that are made already. */
interface EntityContext {
  readonly hidden: readonly ColumnMetadata[];
  readonly earlier: readonly EncryptedColumn[];
}

/**
 * Turns the marked columns of freshly built metadata into encrypted ones: checks their policies, sets what
 * depends on the driver, and removes the refusing transformers.
 */
export function encryptMarkedColumns(parts: Omit<EncryptionContext, 'scopes'>): EncryptedColumns {
  const context = { ...parts, scopes: new ScopeKinds(parts.options) };
  const byColumn = new Map<ColumnMetadata, EncryptedColumn>();
  const byEntity = new Map<EntityMetadata, EncryptedEntity>();
  const metadatas = context.dataSource.entityMetadatas;
  keepOwnColumnNames(context.dataSource);
  metadatas.forEach(assertNoneMarkedByOther);
  metadatas.forEach(assertNoneOverlooked);
  for (const metadata of metadatas) {
    for (const encrypted of markedColumns(metadata, context)) {
      byColumn.set(encrypted.column, encrypted);
    }
    // With single-table inheritance the classes share the column objects of their parent.
    const columns = metadata.columns.flatMap((column) => byColumn.get(column) ?? []);
    if (columns.length > 0) byEntity.set(metadata, encryptedEntity(columns));
  }
  assertNoneStoredByOthers(context.dataSource, byColumn);
  assertUniquenessDeclared(context.dataSource, byColumn.values());
  assertNotConstrained(context.dataSource, [...byColumn.values()]);
  assertNamedColumnsExist(context.options, byColumn);
  const all = [...byEntity.values()];
  return {
    byColumn,
    byEntity,
    keyNames: [...new Set(all.flatMap(({ keyNames }) => keyNames))],
    needsIndexRoot: all.some(({ needsIndexRoot }) => needsIndexRoot),
    scoped: context.scopes.any,
  };
}

/** Returns the scopes of encrypted columns, with whether their keys of tokens are needed, too. */
function scopesOf(columns: readonly EncryptedColumn[]): ScopedColumns[] {
  const scoped = columns.flatMap(({ scope, indexes }) => {
    const index = indexes.some((indexed) => indexed.isScoped);
    return scope === undefined ? [] : [{ scope, index }];
  });
  const kinds = [...new Set(scoped.map(({ scope }) => scope.kind))];
  return kinds.flatMap((kind) => {
    const own = scoped.filter(({ scope }) => scope.kind === kind);
    const [first] = own;
    return first === undefined ? [] : [{ ...first, index: own.some(({ index }) => index) }];
  });
}

function encryptedEntity(columns: readonly EncryptedColumn[]): EncryptedEntity {
  return {
    columns,
    byPropertyPath: new Map(columns.map((c) => [c.column.propertyPath, c])),
    keyNames: [...new Set(columns.map(({ policy }) => policy.keyName))],
    uniqueIndexes: columns.flatMap((encrypted) =>
      encrypted.indexes
        .filter(({ policy }) => policy.unique)
        .map((indexed) => ({ encrypted, indexed })),
    ),
    indexed: columns.some(({ indexes }) => indexes.length > 0),
    needsIndexRoot: columns.some(({ indexes, policy }) =>
      indexes.some(({ isScoped }) => !isScoped || policy.readsUnscoped),
    ),
    isBound: columns.some(({ binding }) => binding !== undefined),
    scopes: scopesOf(columns),
  };
}

function markedColumns(metadata: EntityMetadata, context: EncryptionContext): EncryptedColumn[] {
  const hidden = metadata.columns.filter((c) => guardOf(c) instanceof BlindIndexColumnGuard);
  const columns: EncryptedColumn[] = [];
  for (const column of metadata.columns) {
    const guard = guardOf(column);
    if (!(guard instanceof EncryptedColumnGuard)) continue;
    assertOnlyDecorator(column);
    columns.push(encryptColumn(column, guard, { hidden, earlier: columns }, context));
  }
  const orphan = hidden.find((column) => guardOf(column) !== undefined);
  if (orphan !== undefined) throw indexWithoutColumn(metadata, orphan);
  return columns;
}

function encryptColumn(
  column: ColumnMetadata,
  guard: EncryptedColumnGuard,
  { hidden, earlier }: EntityContext,
  { dataSource, options, keys, scopes }: EncryptionContext,
): EncryptedColumn {
  const scope = scopes.scopeOf(column, guard.options);
  const policy = fieldPolicyOf(column, guard, { ...options, scope });
  const keysHere = keysOfScope(keys, scope);
  const { application } = options;
  const name = `${policy.entity}.${policy.property}`;
  removeGuard(column);
  setCiphertextForm(column, policy, dataSource);
  const readsPlaintext = options.legacyPlaintext?.includes(name) ?? false;
  const previousFormat = options.previousFormats?.[name];

  return {
    column,
    policy,
    cipher: new FieldCipher(policy, application, keysHere),
    binding: rowBindingOf(column, { bindTo: guard.options.bindTo ?? [], policy, scope }, earlier),
    scope,
    indexes: indexedColumns(column, hidden, { policy, application, keys, scope, dataSource }),
    isSealed: policy.isSealed,
    comparedAsText: policy.type in COMPARED_AS,
    ...{ readsPlaintext, previousFormat },
    // Not while the column may hold anything else.
    check:
      guard.options.check !== false && !readsPlaintext && previousFormat === undefined
        ? {
            constraint: addCiphertextCheck(column, policy, dataSource),
            isDeclared: guard.options.check === true,
          }
        : undefined,
  };
}

function assertNoneMarkedByOther(metadata: EntityMetadata): void {
  const marked = metadata.columns.find(isMarkedByOther);
  if (marked === undefined) return;
  const entity = rootEntityName(metadata);
  const property = marked.propertyPath;
  throw new ConfigurationError(
    `${entity}.${property} was marked by another copy of typeorm-field-encryption than the one that has ` +
      `wrapped the DataSource. ${ONE_COPY}`,
    { entity, property },
  );
}

function assertNoneOverlooked(metadata: EntityMetadata): void {
  const [property] = overlookedGuardProperties(metadata);
  if (property === undefined) return;
  throw policyRefused(
    { entity: rootEntityName(metadata), property },
    'a base class declares the property as an ordinary column, and TypeORM takes that one. ' +
      'Put @Encrypted on the property of the base class, or take its column decorator away.',
  );
}

function assertOnlyDecorator(column: ColumnMetadata): void {
  const args = getMetadataArgsStorage().columns.filter(
    ({ target, propertyName }) => target === column.target && propertyName === column.propertyName,
  );
  if (args.length <= 1) return;
  throw policyRefused(
    { entity: rootEntityName(column.entityMetadata), property: column.propertyPath },
    'has another column decorator beside @Encrypted. Remove the other one, @Encrypted replaces it.',
  );
}

function indexWithoutColumn(
  metadata: EntityMetadata,
  orphan: ColumnMetadata,
): InvalidFieldPolicyError {
  const property = (guardOf(orphan) as BlindIndexColumnGuard).sourceProperty;
  return policyRefused(
    { entity: rootEntityName(metadata), property },
    '@BlindIndex stands on a property without @Encrypted. Add @Encrypted, or use @Index.',
  );
}

function assertNamedColumnsExist(
  {
    legacyPlaintext = [],
    legacyUnbound = [],
    legacyScope = [],
    previousFormats = {},
  }: CheckedOptions,
  columns: ReadonlyMap<ColumnMetadata, EncryptedColumn>,
): void {
  const all = [...columns.values()];
  const bound = all.filter(({ binding }) => binding !== undefined);
  const scoped = all.filter(({ scope }) => scope !== undefined);
  const named: [string, readonly string[], readonly EncryptedColumn[], string][] = [
    ['legacyPlaintext', legacyPlaintext, all, ''],
    ['legacyUnbound', legacyUnbound, bound, ' with bindTo'],
    ['legacyScope', legacyScope, scoped, ' with keys of scopes'],
    ['previousFormats', Object.keys(previousFormats), all, ''],
  ];
  for (const [option, names, among, which] of named) {
    const known = among.map(describeColumn);
    const unknown = names.find((name) => !known.includes(name));
    if (unknown === undefined) continue;
    throw new ConfigurationError(
      `${option} names "${unknown}", which is not an encrypted property${which}. ` +
        `Known are: ${known.join(', ')}.`,
    );
  }
}
