import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { KeySource } from '../../keys/key-source';
import { DEFAULT_KIND } from '../../keys/record/scope';
import { contextScope } from '../../keys/scopes/scope-context';
import type { EncryptedOptions } from '../declare/column-options';
import { declaredScopes } from '../declare/key-scope';
import type { CheckedOptions } from '../declare/field-encryption-options';

import { policyRefused } from './encrypted-column';
import { rootEntityName } from './field-policies';
import { constantColumn } from './bound-columns';
import { RowScope } from './row-scope';

/** Returns the keys of the scope of the row at work, as if they were the only ones. */
export function keysOfScope(keys: KeySource, scope: RowScope | undefined): KeySource {
  if (scope === undefined) return keys;
  return {
    activeKey: (name) => keys.activeKey(name, scope.current()),
    keyByPrefix: (prefix) => keys.keyByPrefix(prefix),
    indexRoots: () => keys.indexRoots(scope.current()),
  };
}

/** The declared kinds of scopes, of which an id alone must have only one to mean. */
export class ScopeKinds {
  readonly #kinds = new Set<string>();
  readonly #options: Pick<CheckedOptions, 'keyScope'>;

  constructor(options: Pick<CheckedOptions, 'keyScope'>) {
    this.#options = options;
  }

  get any(): boolean {
    return this.#kinds.size > 0;
  }

  /**
   * Returns the scope that the keys of an encrypted column belong to; undefined for the common keys.
   *
   * @throws {@link InvalidFieldPolicyError}
   */
  scopeOf(column: ColumnMetadata, options: EncryptedOptions): RowScope | undefined {
    const entity = rootEntityName(column.entityMetadata);
    const property = { entity, property: column.propertyPath };
    const kind = this.#kindOf(column, options, property);
    if (kind === undefined) return undefined;
    if (options.key !== undefined) {
      throw policyRefused(
        property,
        '"key" names a common key, and the property has keys of its scope. Leave one of them out, or add "scope: false".',
      );
    }
    this.#kinds.add(kind);
    const declared = declaredScopes(column.entityMetadata).find((each) => each.kind === kind);
    const { keyScope } = this.#options;
    return new RowScope({
      ...{ kind, property, needsContext: keyScope !== undefined },
      column:
        declared &&
        constantColumn(column, declared.property, { what: '@KeyScope', policy: property }),
      context: () => contextScope(kind, this.#kinds.size === 1, keyScope),
    });
  }

  #kindOf(
    { entityMetadata }: ColumnMetadata,
    { scope }: EncryptedOptions,
    property: { readonly entity: string; readonly property: string },
  ): string | undefined {
    if (scope === false) return undefined;
    if (scope !== undefined) return scope;
    const kinds = [...new Set(declaredScopes(entityMetadata).map(({ kind }) => kind))];
    if (kinds.length > 1) {
      throw policyRefused(
        property,
        `the entity has scopes of several kinds. Say which by @Encrypted({ scope: '${String(kinds[0])}' }), or "scope: false".`,
      );
    }
    const [kind] = kinds;
    return kind ?? (this.#options.keyScope === undefined ? undefined : DEFAULT_KIND);
  }
}
