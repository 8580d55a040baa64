import { createSecretKey, randomBytes } from 'node:crypto';
import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { FULL_TOKEN_BITS } from '../../crypto/token-mac';
import type { FieldPolicy } from '../../field/field-policy';
import type { IndexRoot, IndexRoots, KeySource } from '../../keys/key-source';
import { DEFAULT_KIND } from '../../keys/record/scope';
import { contextScope } from '../../keys/scopes/scope-context';
import { indexRoot } from '../../keys/wrapping/unwrapped-key';
import type { EncryptedOptions } from '../declare/column-options';
import { declaredScopes } from '../declare/key-scope';
import type { DeclaredScope } from '../declare/key-scope';
import type { CheckedOptions } from '../declare/field-encryption-options';

import { policyRefused } from './encrypted-column';
import { rootEntityName } from './field-policies';
import { knownRow } from './known-row';
import { constantColumn } from './bound-columns';
import { RowScope } from './row-scope';

const KIND = /^[\w-]{1,32}$/;

/** Returns the keys of the scope of the row at work, as if they were the only ones. */
export function keysOfScope(keys: KeySource, scope: RowScope | undefined): KeySource {
  if (scope === undefined) return keys;
  return {
    activeKey: (name) => keys.activeKey(name, scope.current()),
    keyByPrefix: (prefix) => keys.keyByPrefix(prefix),
    indexRoots: () => keys.indexRoots(scope.current()),
  };
}

/**
 * Returns the keys of the tokens of the row at work: those of its scope first and, while values of the column may
 * be under the common key, those of tokens that were made along with them.
 */
export function indexKeys(
  keys: KeySource,
  scope: RowScope | undefined,
  { readsUnscoped }: Pick<FieldPolicy, 'readsUnscoped'>,
): KeySource {
  if (scope === undefined) return keys;
  const ofScope = (): IndexRoots => {
    const current = scope.current();
    return knownRow()?.hasNoKeys === true ? [rootOfNothing()] : keys.indexRoots(current);
  };
  const known = new WeakMap<
    IndexRoots,
    { readonly common: IndexRoots; readonly all: IndexRoots }
  >();
  const ofBoth = (): IndexRoots => {
    const own = ofScope();
    const common = keys.indexRoots();
    const before = known.get(own);
    if (before?.common === common) return before.all;
    const all: IndexRoots = [...own, ...common];
    known.set(own, { common, all });
    return all;
  };
  return { ...keysOfScope(keys, scope), indexRoots: readsUnscoped ? ofBoth : ofScope };
}

/** Returns a root whose tokens no row has. */
function rootOfNothing(): IndexRoot {
  return indexRoot('', createSecretKey(randomBytes(FULL_TOKEN_BITS / 8)));
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
    checkDeclarations(column.entityMetadata, property);
    const kind = this.#kindOf(column, options, property);
    if (kind === undefined) return undefined;
    if (options.key !== undefined) {
      throw policyRefused(
        property,
        '"key" names a common key, and the property has keys of its scope. Leave one of them out, or add "scope: false".',
      );
    }
    this.#kinds.add(kind);
    const declared = declaredScope(column.entityMetadata, kind, property);
    const { keyScope } = this.#options;
    return new RowScope({
      ...{ kind, property, needsContext: keyScope !== undefined },
      column:
        declared &&
        constantColumn(column, declared.property, { what: '@KeyScope', policy: property }),
      context: () => contextScope(kind, this.#kinds, keyScope),
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

/** Returns where a kind of scopes is declared on an entity, if it is. */
function declaredScope(
  metadata: EntityMetadata,
  kind: string,
  property: Pick<FieldPolicy, 'entity' | 'property'>,
): DeclaredScope | undefined {
  const scopes = declaredScopes(metadata);
  const [first, other] = new Set(
    scopes.filter((each) => each.kind === kind).map((each) => each.property),
  );
  if (other !== undefined) {
    throw policyRefused(
      property,
      `@KeyScope of the kind "${kind}" stands on "${String(first)}" and on "${other}". Leave one of them.`,
    );
  }
  const twice = scopes.find((each) => each.property === first && each.kind !== kind);
  if (twice !== undefined) {
    throw policyRefused(
      property,
      `"${twice.property}" has @KeyScope for two kinds, "${kind}" and "${twice.kind}". Leave one of them.`,
    );
  }
  return scopes.find((each) => each.kind === kind);
}

/** Refuses kinds that the table of keys cannot hold, and declarations that would be overlooked. */
function checkDeclarations(
  metadata: EntityMetadata,
  property: Pick<FieldPolicy, 'entity' | 'property'>,
): void {
  const wrong = declaredScopes(metadata).find(({ kind }) => !KIND.test(kind));
  if (wrong !== undefined) {
    throw policyRefused(
      property,
      'the "kind" of @KeyScope is too long, or has other characters. Give it 1 to 32 letters, digits, "_" or "-".',
    );
  }
  const embedded = metadata.allEmbeddeds.find(
    ({ type, columns }) => declaredScopes({ target: type, ownColumns: columns }).length > 0,
  );
  if (embedded !== undefined) {
    throw policyRefused(
      property,
      `@KeyScope stands within the embedded "${embedded.propertyPath}". Put it on a property of the entity.`,
    );
  }
  // The classes of one table share their columns, and the others have no value in this one.
  const child = metadata.childEntityMetadatas.find(
    (each) =>
      each.tableType === 'entity-child' &&
      declaredScopes(each).length > declaredScopes(metadata).length,
  );
  if (child !== undefined) {
    throw policyRefused(
      property,
      `@KeyScope stands on ${child.name}, which shares its table with other classes. Put it on a property of ` +
        `${metadata.name}, so that every row has a scope.`,
    );
  }
}
