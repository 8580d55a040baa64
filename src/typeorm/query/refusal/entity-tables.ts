import type { EntityMetadata } from 'typeorm';

import { dialectOf } from '../../dialect/dialect-of';
import type { Installation } from '../../installation/installation';
import type { EncryptedColumn, EncryptedColumns } from '../../metadata/encrypted-column';
import { tablePlace } from '../../metadata/table-place';
import { merged, UNKNOWN } from '../../sql/sql-sources';
import type { Catalog, Source } from '../../sql/sql-sources';

type Column = EntityMetadata['columns'][number];
type EncryptedEntities = Pick<Installation, 'encryptedEntity'>;

/** The names that SQL about an entity may use for its table. Another entity may map other columns of it. */
export interface EntityTable {
  readonly source: Source;
  /** The same for SQL that writes, which may not name tokens either: the library computes them. */
  readonly written: Source;
  /** Names of its encrypted and index columns; all SQL that names such a column contains one. */
  readonly encryptedNames: readonly string[];
}

const NO_TABLE: EntityTable = { source: UNKNOWN, written: UNKNOWN, encryptedNames: [] };

/** Columns that every table of PostgreSQL has. */
const SYSTEM_COLUMNS = ['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax'];

/** The tables of a DataSource's entities, by the names that SQL has for them, in lower case. */
export class Tables implements Catalog {
  static readonly #known = new WeakMap<EncryptedColumns, Tables>();

  readonly rowsAreValues: boolean;
  readonly #byEntity = new Map<EntityMetadata, EntityTable>();
  readonly #byName = new Map<string, EntityMetadata[]>();
  /** Names of the tables with encrypted columns; all SQL that reads such a table contains one. */
  readonly #encryptedNames: readonly string[];

  private constructor(installation: Installation) {
    const { dataSource, columns } = installation;
    this.rowsAreValues = dialectOf(dataSource).sql.rowsAreValues;
    const byPlace = new Map<string, EntityMetadata[]>();
    for (const metadata of dataSource.entityMetadatas) {
      addTo(this.#byName, metadata.tableName.toLowerCase(), metadata);
      addTo(byPlace, tablePlace(dataSource, metadata.tablePath), metadata);
    }
    for (const entities of byPlace.values()) {
      for (const metadata of entities) {
        const others = entities.filter((each) => each !== metadata);
        this.#byEntity.set(metadata, entityTable(metadata, others, installation));
      }
    }
    const encrypted = [...columns.byEntity.keys()];
    this.#encryptedNames = [...new Set(encrypted.map(({ tableName }) => tableName.toLowerCase()))];
  }

  static of(installation: Installation): Tables {
    const { columns } = installation;
    const tables = Tables.#known.get(columns) ?? new Tables(installation);
    Tables.#known.set(columns, tables);
    return tables;
  }

  /** Returns the table of an entity. */
  ofEntity(metadata: EntityMetadata): EntityTable {
    return this.#byEntity.get(metadata) ?? NO_TABLE;
  }

  /** Whether SQL may name a table with encrypted columns. */
  mentionedIn(sql: string): boolean {
    const lower = sql.toLowerCase();
    return this.#encryptedNames.some((name) => lower.includes(name));
  }

  /** Returns the table with a name, which may be qualified with its schema and database. */
  source(parts: readonly string[]): Source | undefined {
    const schema = parts.at(-2);
    const found = (this.#byName.get(parts.at(-1) ?? '') ?? []).filter(
      (metadata) =>
        schema === undefined ||
        metadata.schema === undefined ||
        metadata.schema.toLowerCase() === schema,
    );
    // TypeORM replaces nothing in SQL that names tables itself.
    return found
      .map((metadata) => withoutPaths(this.ofEntity(metadata).source))
      .reduce<Source | undefined>(merged, undefined);
  }
}

function withoutPaths({ encrypted, plain }: Source): Source {
  return { encrypted, plain };
}

function addTo<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key) ?? [];
  list.push(value);
  lists.set(key, list);
}

function entityTable(
  metadata: EntityMetadata,
  others: readonly EntityMetadata[],
  { encryptedEntity }: EncryptedEntities,
): EntityTable {
  const encryptedOf = (each: EntityMetadata): readonly EncryptedColumn[] =>
    encryptedEntity(each)?.columns ?? [];
  // The entity's own come last, so that errors name its properties.
  const encrypted = new Map([
    ...others.flatMap(encryptedOf).map((each) => [nameOf(each.column), each] as const),
    ...encryptedOf(metadata).flatMap((each) =>
      namesOf(each.column).map((name) => [name, each] as const),
    ),
  ]);
  const tokens = [...others, metadata]
    .flatMap(encryptedOf)
    .flatMap((each) =>
      each.indexes.flatMap(({ column }) => namesOf(column).map((name) => [name, each] as const)),
    );
  const withTokens = new Map([...encrypted, ...tokens]);
  const names = [
    ...others.flatMap(({ columns }) => columns.map(nameOf)),
    ...metadata.columns.flatMap((column) => [nameOf(column), column.databasePath.toLowerCase()]),
    ...SYSTEM_COLUMNS,
  ];
  const paths = pathsOf(metadata);
  return {
    source: sourceOf(encrypted, names, paths),
    written: sourceOf(withTokens, names, paths),
    encryptedNames: [...withTokens.keys()],
  };
}

function sourceOf(
  encrypted: Source['encrypted'],
  names: readonly string[],
  paths: readonly string[],
): Source {
  const isPlain = (name: string): boolean => !encrypted.has(name);
  return {
    encrypted,
    plain: new Set(names.filter(isPlain)),
    paths: new Set(paths.filter(isPlain)),
  };
}

function nameOf({ databaseName }: Column): string {
  return databaseName.toLowerCase();
}

function namesOf(column: Column): string[] {
  const { propertyPath, databaseName, databasePath, propertyName, entityMetadata } = column;
  const names = [propertyPath, databaseName, databasePath];
  // TypeORM also knows a property of an embedded class by the last part of its path: see pathsOf().
  const isAnother = entityMetadata.columns.some((each) => each.propertyPath === propertyName);
  return [...names, ...(isAnother ? [] : [propertyName])].map((name) => name.toLowerCase());
}

/**
 * Returns what TypeORM replaces by the name of a column after an alias, or by itself in an UPDATE or
 * DELETE: the path of a property, or its last part if that is not the path of another.
 */
function pathsOf({ columns, relations }: EntityMetadata): string[] {
  const paths = columns.flatMap(({ propertyPath, propertyName }) => [propertyPath, propertyName]);
  for (const { propertyPath, joinColumns, inverseJoinColumns } of relations) {
    if (joinColumns.length > 0) paths.push(propertyPath);
    for (const { referencedColumn } of [...joinColumns, ...inverseJoinColumns]) {
      if (referencedColumn) paths.push(`${propertyPath}.${referencedColumn.propertyPath}`);
    }
  }
  return paths.map((path) => path.toLowerCase());
}
