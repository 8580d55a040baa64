import {
  DeleteQueryBuilder,
  InsertQueryBuilder,
  QueryBuilder,
  SelectQueryBuilder,
  UpdateQueryBuilder,
} from 'typeorm';
import type { DataSource, EntityMetadata } from 'typeorm';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';

import {
  EncryptedColumnGuard,
  guardOf,
  overlookedGuardProperties,
  unprotectedDataSource,
} from '../declare/column-guard';
import { tablePlace } from '../metadata/table-place';

/**
 * The methods in which statements become SQL, and before them conditions, which would hand their values to
 * the guard transformer: it cannot name the property.
 */
const SQL_METHODS = [
  [SelectQueryBuilder, 'getQuery'],
  [InsertQueryBuilder, 'getQuery'],
  [UpdateQueryBuilder, 'getQuery'],
  [DeleteQueryBuilder, 'getQuery'],
  [SoftDeleteQueryBuilder, 'getQuery'],
  [QueryBuilder, 'getWhereCondition'],
  [SelectQueryBuilder, 'buildWhere'],
] as const;

const guardedProperty = new WeakMap<EntityMetadata, string | null>();

let isGuarded = false;

/**
 * Makes every statement on an encrypted entity fail, naming it, in a DataSource that was not wrapped.
 *
 * The column transformer refuses values; this refuses statements that carry none, such as a find on
 * an empty table. It costs one map look-up a statement and changes nothing else.
 */
export function refuseUnprotectedUse(): void {
  if (isGuarded) return;
  isGuarded = true;
  for (const [{ prototype }, name] of SQL_METHODS) guard(prototype, name);
}

type Method = (this: QueryBuilder<object>, ...args: unknown[]) => unknown;

function guard(prototype: object, name: string): void {
  const methods = prototype as Record<string, Method>;
  const method = methods[name];
  if (method === undefined) return;
  methods[name] = function (...args) {
    assertProtected(this);
    return method.apply(this, args);
  };
}

function assertProtected({ connection, expressionMap }: QueryBuilder<object>): void {
  for (const alias of expressionMap.aliases) {
    if (alias.hasMetadata) {
      const property = unprotectedPropertyOf(alias.metadata);
      if (property !== null) throw unprotectedDataSource(alias.metadata.name, property);
    } else if (alias.tablePath !== undefined) {
      const guarded = guardedTables(connection).get(tablePlace(connection, alias.tablePath));
      if (guarded !== undefined) throw unprotectedDataSource(guarded.entity, guarded.property);
    }
  }
}

function unprotectedPropertyOf(metadata: EntityMetadata): string | null {
  let property = guardedProperty.get(metadata);
  if (property === undefined) {
    property = guardedPropertyOf(metadata) ?? ordinaryForGuarded(metadata) ?? null;
    guardedProperty.set(metadata, property);
  }
  return property;
}

function guardedPropertyOf(metadata: EntityMetadata): string | undefined {
  const column = metadata.columns.find((c) => guardOf(c) instanceof EncryptedColumnGuard);
  return column?.propertyPath ?? overlookedGuardProperties(metadata)[0];
}

/** Finds a property that writes the encrypted column of another entity as an ordinary one. */
function ordinaryForGuarded(metadata: EntityMetadata): string | undefined {
  const { connection, tablePath } = metadata;
  const guarded = guardedTables(connection).get(tablePlace(connection, tablePath));
  return metadata.columns.find(
    ({ databaseName, isInsert, isUpdate }) =>
      (isInsert || isUpdate) && guarded?.columns.has(databaseName.toLowerCase()),
  )?.propertyPath;
}

/** A table with encrypted columns, and one of the entities that map it. */
interface GuardedTable {
  readonly entity: string;
  readonly property: string;
  /** Names of the encrypted columns, in lower case. */
  readonly columns: ReadonlySet<string>;
}

/** Guarded tables by the list of metadata, which TypeORM rebuilds at each `initialize()`. */
const guardedTablesOf = new WeakMap<readonly EntityMetadata[], Map<string, GuardedTable>>();

/** Returns the tables of a DataSource's encrypted entities by their places; none for a wrapped one. */
function guardedTables(dataSource: DataSource): ReadonlyMap<string, GuardedTable> {
  const { entityMetadatas } = dataSource;
  let tables = guardedTablesOf.get(entityMetadatas);
  if (tables === undefined) {
    tables = new Map();
    for (const metadata of entityMetadatas) {
      const property = guardedPropertyOf(metadata);
      if (property === undefined) continue;
      const columns = metadata.columns
        .filter((column) => guardOf(column) instanceof EncryptedColumnGuard)
        .map(({ databaseName }) => databaseName.toLowerCase());
      const guarded = { entity: metadata.name, property, columns: new Set(columns) };
      tables.set(tablePlace(dataSource, metadata.tablePath), guarded);
    }
    guardedTablesOf.set(entityMetadatas, tables);
  }
  return tables;
}
