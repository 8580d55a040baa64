import type { EntityMetadata } from 'typeorm';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import type { EncryptedColumns } from '../take-over';
import { merged } from './sql-sources';
import type { Catalog, Source } from './sql-sources';

/** The source that the table of an entity is. */
export function entitySource(metadata: EntityMetadata, { encryptedEntity }: Installation): Source {
  const encrypted = new Map<string, EncryptedColumn>();
  for (const each of encryptedEntity(metadata)?.columns ?? []) {
    for (const name of namesOf(each.column)) encrypted.set(name, each);
  }
  const plain = metadata.columns.flatMap(namesOf).filter((name) => !encrypted.has(name));
  return { encrypted, plain: new Set(plain) };
}

/** The same for SQL that writes, where tokens may not be named either: the library computes them. */
export function writtenSource(metadata: EntityMetadata, installation: Installation): Source {
  const { encrypted, plain } = entitySource(metadata, installation);
  const all = new Map(encrypted);
  for (const each of installation.encryptedEntity(metadata)?.columns ?? []) {
    for (const { column } of each.indexes) for (const name of namesOf(column)) all.set(name, each);
  }
  return { encrypted: all, plain: new Set([...plain].filter((name) => !all.has(name))) };
}

function namesOf({
  propertyPath,
  databaseName,
  databasePath,
}: EntityMetadata['columns'][number]): string[] {
  return [propertyPath, databaseName, databasePath].map((name) => name.toLowerCase());
}

/** The tables of a DataSource's entities, by the names that SQL has for them. */
export class Tables implements Catalog {
  static readonly #known = new WeakMap<EncryptedColumns, Tables>();

  readonly #installation: Installation;
  readonly #byName = new Map<string, EntityMetadata[]>();
  /** Names of those with encrypted columns: one of them is in all SQL that reads such a table. */
  readonly encryptedNames: readonly string[];

  private constructor(installation: Installation) {
    this.#installation = installation;
    for (const metadata of installation.dataSource.entityMetadatas) {
      const name = metadata.tableName.toLowerCase();
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), metadata]);
    }
    const encrypted = [...installation.columns.byEntity.keys()];
    this.encryptedNames = [...new Set(encrypted.map(({ tableName }) => tableName.toLowerCase()))];
  }

  static of(installation: Installation): Tables {
    const { columns } = installation;
    const tables = Tables.#known.get(columns) ?? new Tables(installation);
    Tables.#known.set(columns, tables);
    return tables;
  }

  /** The table with a name, which may be qualified with its schema and database. */
  source(parts: readonly string[]): Source | undefined {
    const schema = parts.at(-2);
    const found = (this.#byName.get(parts.at(-1) ?? '') ?? []).filter(
      (metadata) =>
        schema === undefined ||
        metadata.schema === undefined ||
        metadata.schema.toLowerCase() === schema,
    );
    return found
      .map((metadata) => entitySource(metadata, this.#installation))
      .reduce<Source | undefined>(merged, undefined);
  }
}
