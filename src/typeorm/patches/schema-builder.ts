import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';
import type { SchemaBuilder } from 'typeorm/schema-builder/SchemaBuilder.js';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

import type { Installation } from '../installation/installation';
import { withConnection } from '../connection/lent-connection';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { OWN_TABLES } from '../tables/own-tables';

/**
 * The encrypted columns that should have the CHECK constraint against cleartext, and whose table in
 * the database lacks it: it was made before the constraint was the default, or not from the entity.
 * Columns of tables that are not there yet are not among them.
 */
export async function columnsWithoutCheck(
  { dataSource, columns: { byEntity } }: Installation,
  connection?: QueryRunner,
): Promise<EncryptedColumn[]> {
  return withConnection(dataSource, connection, async (runner) => {
    const lacking: EncryptedColumn[] = [];
    for (const [metadata, { columns }] of byEntity) {
      if (metadata.tableType === 'entity-child') continue;
      const checked = columns.filter(({ check }) => check !== undefined);
      const table = checked.length > 0 ? await runner.getTable(metadata.tablePath) : undefined;
      if (table === undefined) continue;
      const names = table.checks.map(({ name }) => name);
      lacking.push(...checked.filter(({ check }) => !names.includes(check?.constraint.name)));
    }
    return lacking;
  });
}

/**
 * Brings the metadata into line with what the database has, for a schema builder that is about to
 * compare the two: it would add the constraint to existing tables, which SQLite does by a rebuild and
 * PostgreSQL under a lock. They get it by `schema contract`, or where `check: true` asks for it.
 */
async function settleChecks(installation: Installation): Promise<void> {
  const lacking = new Set(await columnsWithoutCheck(installation));
  for (const encrypted of installation.columns.byColumn.values()) {
    const { check } = encrypted;
    if (check === undefined) continue;
    const { checks } = check.constraint.entityMetadata;
    const at = checks.indexOf(check.constraint);
    const isWanted = check.isDeclared || !lacking.has(encrypted);
    if (isWanted && at === -1) checks.push(check.constraint);
    if (!isWanted && at !== -1) checks.splice(at, 1);
  }
}

const ownMetadatas = new WeakMap<DataSource, ReadonlyMap<string, EntityMetadata>>();

/** The methods of TypeORM's DataSource by which all else finds metadata; protected, but the same in both majors. */
interface MetadataSource {
  buildMetadatas(): Promise<void>;
  findMetadata(target: unknown): EntityMetadata | undefined;
}

/**
 * Gives a DataSource the metadata of the library's own tables, and keeps them out of its
 * `entityMetadatas`: what an application does to every entity that it finds there, such as emptying
 * its table between tests, must not reach the keys and the audit log. `getMetadata()` and repositories
 * find them by schema or entity name; see {@link ownMetadata} for who else has to know them.
 */
export function installOwnMetadata(dataSource: DataSource): void {
  const source = dataSource as unknown as MetadataSource;

  const buildMetadatas = source.buildMetadatas.bind(dataSource);
  source.buildMetadatas = async () => {
    await withOwnEntities(dataSource, buildMetadatas);
    setAside(dataSource);
  };

  const findMetadata = source.findMetadata.bind(dataSource);
  source.findMetadata = (target) => findOwn(dataSource, target) ?? findMetadata(target);
}

/** The metadata of the library's own tables; none before `initialize()`. */
function ownMetadata(dataSource: DataSource): readonly EntityMetadata[] {
  return [...(ownMetadatas.get(dataSource)?.values() ?? [])];
}

/** The option is put back as it was: applications copy it, and share one options object. */
async function withOwnEntities(dataSource: DataSource, build: () => Promise<void>): Promise<void> {
  const { entities } = dataSource.options;
  const list: unknown[] = Array.isArray(entities) ? entities : Object.values(entities ?? {});
  const own = OWN_TABLES.map(({ schema }) => schema).filter((schema) => !list.includes(schema));
  dataSource.setOptions({ entities: [...list, ...own] as never });
  try {
    await build();
  } finally {
    dataSource.setOptions({ entities: entities as never });
  }
}

function setAside(dataSource: DataSource): void {
  const names = OWN_TABLES.map(({ schema }) => schema.options.name);
  const isOwn = ({ name }: EntityMetadata): boolean => names.includes(name);
  const { entityMetadatas: all } = dataSource;
  ownMetadatas.set(dataSource, new Map(all.filter(isOwn).map((each) => [each.name, each])));
  const seen = all.filter((metadata) => !isOwn(metadata));
  Object.assign(dataSource, {
    entityMetadatas: seen,
    entityMetadatasMap: new Map(seen.map((metadata) => [metadata.target, metadata])),
  });
}

/** TypeORM calls an entity without a class by its name. */
function findOwn(dataSource: DataSource, target: unknown): EntityMetadata | undefined {
  const name = InstanceChecker.isEntitySchema(target) ? target.options.name : target;
  return typeof name === 'string' ? ownMetadatas.get(dataSource)?.get(name) : undefined;
}

/** The property by which TypeORM's schema builder asks for the tables; protected, but the same in both majors. */
const TABLES = 'entityToSyncMetadatas';

/**
 * Makes the schema builders of a DataSource (`synchronize`, `schema:log`, `migration:generate`) know
 * the library's own tables, which `entityMetadatas` does not show, and leave existing tables without
 * the CHECK against cleartext as they are.
 */
export function installSchemaBuilder(installation: Installation): void {
  const { dataSource } = installation;
  const { driver } = dataSource;
  const createSchemaBuilder = driver.createSchemaBuilder.bind(driver);
  driver.createSchemaBuilder = () => {
    const builder = createSchemaBuilder();
    Object.defineProperty(builder, TABLES, {
      get: () => [...tablesOf(builder), ...ownMetadata(dataSource).filter((m) => m.synchronize)],
    });
    const build = builder.build.bind(builder);
    builder.build = async () => {
      await settleChecks(installation);
      await build();
    };
    const log = builder.log.bind(builder);
    builder.log = async () => {
      await settleChecks(installation);
      return log();
    };
    return builder;
  };
}

function tablesOf(builder: SchemaBuilder): EntityMetadata[] {
  return Reflect.get(Object.getPrototypeOf(builder) as object, TABLES, builder) as EntityMetadata[];
}
