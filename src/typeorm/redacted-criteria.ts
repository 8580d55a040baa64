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
 * `criteria` quote the where object. Called for every query runner: the methods are made once.
 */
export function redactNotFoundErrors(manager: EntityManager): EntityManager {
  manager.findOneOrFail = findOneOrFail;
  manager.findOneByOrFail = findOneByOrFail;
  return manager;
}

async function findOneOrFail<T extends ObjectLiteral>(
  this: EntityManager,
  target: EntityTarget<T>,
  options: FindOneOptions<T>,
): Promise<T> {
  const find = methodsOf(this).findOneOrFail<T>;
  try {
    return await find.call(this, target, options);
  } catch (error) {
    throw redacted(error, this.connection, target, (metadata) => ({
      ...options,
      where: redact(metadata, options.where),
    }));
  }
}

async function findOneByOrFail<T extends ObjectLiteral>(
  this: EntityManager,
  target: EntityTarget<T>,
  where: FindOptionsWhere<T> | FindOptionsWhere<T>[],
): Promise<T> {
  const find = methodsOf(this).findOneByOrFail<T>;
  try {
    return await find.call(this, target, where);
  } catch (error) {
    throw redacted(error, this.connection, target, (metadata) => redact(metadata, where));
  }
}

/** The methods that are replaced, as functions. */
interface Methods {
  readonly findOneOrFail: typeof findOneOrFail;
  readonly findOneByOrFail: typeof findOneByOrFail;
}

/** The methods of its class, of which a DataSource may have its own. */
function methodsOf(manager: EntityManager): Methods {
  return Object.getPrototypeOf(manager) as Methods;
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
