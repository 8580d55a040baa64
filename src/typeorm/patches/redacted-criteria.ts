import { EntityManager, EntityNotFoundError } from 'typeorm';
import type {
  EntityMetadata,
  EntityTarget,
  FindOneOptions,
  FindOptionsWhere,
  ObjectLiteral,
} from 'typeorm';

import { installationOf } from '../installation/installations';
import { isCleartextParameter } from '../sql/raw-use';

import { overrideClass } from './override';

const REDACTED = '[encrypted]';

/**
 * TypeORM's EntityManager that keeps the values of encrypted properties out of EntityNotFoundError, whose
 * message and `criteria` quote the where object.
 */
class RedactingEntityManager extends EntityManager {
  override async findOneOrFail<T extends ObjectLiteral>(
    target: EntityTarget<T>,
    options: FindOneOptions<T>,
  ): Promise<T> {
    try {
      return await super.findOneOrFail(target, options);
    } catch (error) {
      throw redacted(error, () => {
        const where = redact(this.connection.getMetadata(target), options.where);
        return where === options.where ? options : { ...options, where };
      });
    }
  }

  override async findOneByOrFail<T extends ObjectLiteral>(
    target: EntityTarget<T>,
    where: FindOptionsWhere<T> | FindOptionsWhere<T>[],
  ): Promise<T> {
    try {
      return await super.findOneByOrFail(target, where);
    } catch (error) {
      throw redacted(error, () => redact(this.connection.getMetadata(target), where));
    }
  }
}

/** Overrides the methods above in TypeORM's EntityManager. */
export function redactCriteria(): void {
  overrideClass(EntityManager, RedactingEntityManager);
}

/** Returns the error of a query builder without the values that it compared cleartext rows with. */
export function withoutCleartext(error: unknown, parameters: ObjectLiteral): unknown {
  return redacted(error, () => {
    if (!Object.keys(parameters).some(isCleartextParameter)) return parameters;
    return mapValues(parameters, (value, name) => (isCleartextParameter(name) ? REDACTED : value));
  });
}

/** Returns the error itself if there is nothing to redact. */
function redacted(error: unknown, criteria: () => unknown): unknown {
  if (!(error instanceof EntityNotFoundError)) return error;
  const shown = criteria();
  return shown === error.criteria ? error : new EntityNotFoundError(error.entityClass, shown);
}

/** Returns the same object if nothing in it is redacted. */
function redact(metadata: EntityMetadata, where: unknown, prefix = ''): unknown {
  if (Array.isArray(where)) {
    const all = where.map((each: unknown) => redact(metadata, each, prefix));
    return all.every((each, i) => each === where[i]) ? where : all;
  }
  if (typeof where !== 'object' || where === null) return where;
  const encrypted = installationOf(metadata.connection).encryptedEntity(metadata);
  return mapValues(where, (value, key) => {
    const path = prefix + key;
    if (encrypted?.byPropertyPath.has(path) === true) return REDACTED;
    const relation = metadata.findRelationWithPropertyPath(path);
    if (relation !== undefined) return redact(relation.inverseEntityMetadata, value);
    if (metadata.findEmbeddedWithPropertyPath(path) === undefined) return value;
    return redact(metadata, value, `${path}.`);
  });
}

function mapValues(
  values: ObjectLiteral,
  map: (value: unknown, name: string) => unknown,
): ObjectLiteral {
  const before: [string, unknown][] = Object.entries(values);
  const after = before.map(([name, value]) => [name, map(value, name)] as const);
  const isSame = after.every(([, value], i) => value === before[i]?.[1]);
  return isSame ? values : Object.fromEntries(after);
}
