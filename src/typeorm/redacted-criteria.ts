import { EntityNotFoundError } from 'typeorm';
import type {
  DataSource,
  EntityManager,
  EntityMetadata,
  EntityTarget,
  FindOneOptions,
  FindOptionsWhere,
  ObjectLiteral,
} from 'typeorm';
import { installationOf } from './installation';

const REDACTED = '[encrypted]';

/**
 * Keeps the values of encrypted properties out of TypeORM's EntityNotFoundError, whose message and
 * `criteria` quote the where object.
 */
export function redactNotFoundErrors(manager: EntityManager): EntityManager {
  const findOneOrFail = manager.findOneOrFail.bind(manager);
  manager.findOneOrFail = async <T extends ObjectLiteral>(
    target: EntityTarget<T>,
    options: FindOneOptions<T>,
  ): Promise<T> => {
    try {
      return await findOneOrFail(target, options);
    } catch (error) {
      throw redacted(error, manager.connection, target, (metadata) => ({
        ...options,
        where: redact(metadata, options.where),
      }));
    }
  };

  const findOneByOrFail = manager.findOneByOrFail.bind(manager);
  manager.findOneByOrFail = async <T extends ObjectLiteral>(
    target: EntityTarget<T>,
    where: FindOptionsWhere<T> | FindOptionsWhere<T>[],
  ): Promise<T> => {
    try {
      return await findOneByOrFail(target, where);
    } catch (error) {
      throw redacted(error, manager.connection, target, (metadata) => redact(metadata, where));
    }
  };
  return manager;
}

function redacted(
  error: unknown,
  dataSource: DataSource,
  target: EntityTarget<ObjectLiteral>,
  criteria: (metadata: EntityMetadata) => unknown,
): unknown {
  if (!(error instanceof EntityNotFoundError)) return error;
  return new EntityNotFoundError(target, criteria(dataSource.getMetadata(target)));
}

function redact(metadata: EntityMetadata, where: unknown, prefix = ''): unknown {
  if (Array.isArray(where)) return where.map((each) => redact(metadata, each, prefix));
  if (typeof where !== 'object' || where === null) return where;
  const encrypted = installationOf(metadata.connection).encryptedEntity(metadata);
  return Object.fromEntries(
    Object.entries(where).map(([key, value]: [string, unknown]) => {
      const path = prefix + key;
      if (encrypted?.byPropertyPath.has(path) === true) return [key, REDACTED];
      const relation = metadata.findRelationWithPropertyPath(path);
      if (relation !== undefined) return [key, redact(relation.inverseEntityMetadata, value)];
      if (metadata.findEmbeddedWithPropertyPath(path) !== undefined) {
        return [key, redact(metadata, value, `${path}.`)];
      }
      return [key, value];
    }),
  );
}
