import type { DataSource, EntityMetadata } from 'typeorm';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';
import { OWN_TABLES } from './own-tables';

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
export function ownMetadata(dataSource: DataSource): readonly EntityMetadata[] {
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
