import type { DataSource, EntityMetadata } from 'typeorm';
import { Query } from 'typeorm/driver/Query.js';
import type { SchemaBuilder } from 'typeorm/schema-builder/SchemaBuilder.js';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

import { dialectOf } from '../dialect/dialect-of';
import type { Installation } from '../installation/installation';
import { alignChecks } from '../installation/missing-checks';
import { ownTableChanges } from '../installation/own-table-changes';
import { OWN_TABLES } from '../tables/own-tables';

import { override } from './override';
import { buildChecks } from './schema-checks';

const ownMetadatas = new WeakMap<DataSource, ReadonlyMap<string, EntityMetadata>>();

/** The methods of TypeORM's DataSource that build and find metadata; protected, but the same in both majors. */
interface MetadataSource {
  buildMetadatas(): Promise<void>;
  findMetadata(target: unknown): EntityMetadata | undefined;
}

/**
 * Gives a DataSource the metadata of the library's own tables, and keeps them out of its
 * `entityMetadatas`: an application may do something to every entity there, such as empty its table
 * between tests, and that must not reach the keys and the audit log. `getMetadata()` and repositories
 * find them by schema or entity name, and schema builders by {@link ownMetadata}.
 */
export function installOwnMetadata(dataSource: DataSource): void {
  const source = dataSource as unknown as MetadataSource;

  override(source, 'buildMetadatas', (build) => async () => {
    await withOwnEntities(dataSource, build);
    setAside(dataSource);
  });
  override(
    source,
    'findMetadata',
    (find) => (target) => findOwn(dataSource, target) ?? find(target),
  );
}

/** Returns the metadata of the library's own tables; none before `initialize()`. */
function ownMetadata(dataSource: DataSource): readonly EntityMetadata[] {
  return [...(ownMetadatas.get(dataSource)?.values() ?? [])];
}

/** Restores the option afterwards: applications copy it, and share one options object. */
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

/** The property in which TypeORM's schema builder finds the tables; protected, but the same in both majors. */
const TABLES = 'entityToSyncMetadatas';

/**
 * Makes the schema builders of a DataSource (`synchronize`, `schema:log`, `migration:generate`) know
 * the library's own tables, which `entityMetadatas` does not show, and leave existing tables without
 * the CHECK against cleartext as they are.
 */
export function installSchemaBuilder(installation: Installation): void {
  const { dataSource } = installation;
  override(dataSource.driver, 'createSchemaBuilder', (create) => () => {
    const builder = create();
    const own = (): EntityMetadata[] => ownMetadata(dataSource).filter((m) => m.synchronize);
    const { ownTables } = dialectOf(dataSource);
    Object.defineProperty(builder, TABLES, {
      get: () => [...tablesOf(builder), ...(ownTables === undefined ? own() : [])],
    });
    buildChecks(builder, installation);
    override(builder, 'build', (build) => async () => {
      await alignChecks(installation);
      await build();
      for (const { up } of await ownTableChanges(dataSource, own())) await dataSource.query(up);
    });
    override(builder, 'log', (log) => async () => {
      await alignChecks(installation);
      const changes = await log();
      for (const { up, down } of await ownTableChanges(dataSource, own())) {
        changes.upQueries.push(new Query(up));
        changes.downQueries.push(new Query(down));
      }
      return changes;
    });
    return builder;
  });
}

function tablesOf(builder: SchemaBuilder): EntityMetadata[] {
  return Reflect.get(Object.getPrototypeOf(builder) as object, TABLES, builder) as EntityMetadata[];
}
