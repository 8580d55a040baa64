import type { EntityMetadata } from 'typeorm';
import type { SchemaBuilder } from 'typeorm/schema-builder/SchemaBuilder.js';
import type { Installation } from './installation';
import { settleChecks } from './missing-checks';
import { ownMetadata } from './own-metadata';

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
