import type { EntityMetadata, EntitySchemaColumnOptions } from 'typeorm';

import { DEFAULT_KIND } from '../../keys/record/scope';

/** Options of {@link KeyScope}. */
export interface KeyScopeOptions {
  /** The kind of the scope, such as `tenant` or `person`; 1 to 32 characters. Defaults to `'default'`. */
  kind?: string;
}

/** A property that names the scope of its row. */
export interface DeclaredScope {
  readonly property: string;
  readonly kind: string;
}

const declared = new WeakMap<object, DeclaredScope[]>();

/**
 * Names the scope of a row: the tenant or the person whose keys encrypt its values. Stands on a column that is
 * not encrypted, set by the application before the insert and never changed, or on a relation with one foreign key
 * column. All encrypted properties of the entity then have keys of their scope, but those with `scope: false`.
 */
export function KeyScope({ kind = DEFAULT_KIND }: KeyScopeOptions = {}): PropertyDecorator {
  return (prototype, propertyKey) => {
    const scopes = declared.get(prototype.constructor) ?? [];
    declared.set(prototype.constructor, [...scopes, { property: String(propertyKey), kind }]);
  };
}

/** Marks the column of a scope in an EntitySchema, on the option that TypeORM copies to the metadata as it is. */
const KIND_OF_SCOPE = Symbol('kind of scope');

/**
 * Returns the options of a column of an EntitySchema that names the scope of its row, as {@link KeyScope} does for
 * a class.
 *
 * @param options - those of the column, and `kind`.
 */
export function keyScopeColumn({
  kind = DEFAULT_KIND,
  ...column
}: KeyScopeOptions & EntitySchemaColumnOptions): EntitySchemaColumnOptions {
  // TypeORM calls it for virtual properties alone.
  const query = (): string => '';
  return { ...column, query: Object.assign(query, { [KIND_OF_SCOPE]: kind }) };
}

/** Returns the scopes that the class of an entity declares, those of the classes that it extends, and of its schema. */
export function declaredScopes({
  target,
  ownColumns,
}: Pick<EntityMetadata, 'target' | 'ownColumns'>): DeclaredScope[] {
  const scopes = ownColumns.flatMap(({ propertyName, query }) => {
    const kind: unknown = query && Reflect.get(query, KIND_OF_SCOPE);
    return typeof kind === 'string' ? [{ property: propertyName, kind }] : [];
  });
  let each: unknown = target;
  while (typeof each === 'function') {
    scopes.push(...(declared.get(each) ?? []));
    each = Object.getPrototypeOf(each);
  }
  return scopes;
}
