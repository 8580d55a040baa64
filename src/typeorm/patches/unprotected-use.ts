import {
  DeleteQueryBuilder,
  InsertQueryBuilder,
  SelectQueryBuilder,
  UpdateQueryBuilder,
} from 'typeorm';
import type { DataSource, EntityMetadata, QueryBuilder } from 'typeorm';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';
import {
  EncryptedColumnGuard,
  guardOf,
  overlookedGuardProperties,
  unprotectedDataSource,
} from '../declare/column-guard';
import { tablePlace } from '../metadata/table-place';

/** Not the same for another copy of this library, which has DataSources of its own. */
const GUARDED = Symbol('guarded');

const BUILDERS = [
  SelectQueryBuilder,
  InsertQueryBuilder,
  UpdateQueryBuilder,
  DeleteQueryBuilder,
  SoftDeleteQueryBuilder,
];

/**
 * All statements become SQL through the first; the others turn conditions into SQL before it, and
 * would hand their values to the guard transformer, which cannot name the property.
 */
const ENTRANCES = ['getQuery', 'getWhereCondition', 'buildWhere'] as const;

const guardedProperty = new WeakMap<EntityMetadata, string | null>();

/**
 * Makes every statement on an encrypted entity fail by name in a DataSource that was not wrapped.
 *
 * The column transformer refuses values; this refuses statements that carry none, such as a find on
 * an empty table. It costs one map look-up a statement and changes nothing else.
 */
export function refuseUnprotectedUse(): void {
  for (const { prototype } of BUILDERS) {
    if (Object.hasOwn(prototype, GUARDED)) continue;
    Object.defineProperty(prototype, GUARDED, { value: true });
    for (const entrance of ENTRANCES) guard(prototype, entrance);
  }
}

type Method = (this: QueryBuilder<object>, ...args: unknown[]) => unknown;

function guard(prototype: object, entrance: (typeof ENTRANCES)[number]): void {
  const methods = prototype as Partial<Record<typeof entrance, Method>>;
  const method = methods[entrance];
  if (method === undefined) return;
  methods[entrance] = function (...args) {
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

/** A property by which an entity writes the encrypted column of another one as an ordinary one. */
function ordinaryForGuarded(metadata: EntityMetadata): string | undefined {
  const { connection, tablePath } = metadata;
  const guarded = guardedTables(connection).get(tablePlace(connection, tablePath));
  return metadata.columns.find(
    ({ databaseName, isInsert, isUpdate }) =>
      (isInsert || isUpdate) && guarded?.columns.has(databaseName.toLowerCase()),
  )?.propertyPath;
}

/** A table with encrypted columns, by an entity of it. */
interface GuardedTable {
  readonly entity: string;
  readonly property: string;
  /** Names of the encrypted columns, in lower case. */
  readonly columns: ReadonlySet<string>;
}

/** By the list of metadata, which TypeORM makes anew at each `initialize()`. */
const guardedTablesOf = new WeakMap<readonly EntityMetadata[], Map<string, GuardedTable>>();

/** The tables of a DataSource's encrypted entities, by their places; none for one that was wrapped. */
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
