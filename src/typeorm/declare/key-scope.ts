import type { EntityMetadata } from 'typeorm';

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

/** Returns the scopes that the class of an entity declares, and those of the classes that it extends. */
export function declaredScopes({
  target,
}: {
  readonly target: EntityMetadata['target'];
}): DeclaredScope[] {
  const scopes: DeclaredScope[] = [];
  let each: unknown = target;
  while (typeof each === 'function') {
    scopes.push(...(declared.get(each) ?? []));
    each = Object.getPrototypeOf(each);
  }
  return scopes;
}
