import { InsertQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import type { EntityMetadata, ObjectLiteral } from 'typeorm';

import type { Scope } from '../../../keys/record/scope';
import type { EncryptedEntity } from '../../metadata/encrypted-column';
import type { KnownRow } from '../../metadata/known-row';
import type { RowScope } from '../../metadata/row-scope';
import type { AnyQueryBuilder } from '../any-query-builder';

import { UpdatedRows } from './updated-row';
import { insertedRow } from './written-row';

/** The scopes whose keys a write needs, and whether it makes tokens with them. */
export interface WrittenScopes {
  readonly scopes: readonly Scope[];
  readonly index: boolean;
}

const NONE: WrittenScopes = { scopes: [], index: false };

/** A row that is written, and the values that are written to it. */
interface Written {
  readonly row: KnownRow;
  readonly values: ObjectLiteral;
}

/**
 * Returns the scopes of the rows to which a statement writes encrypted values.
 *
 * @throws {@link MissingScopeError}, {@link ScopeMismatchError} where one of them is not known, before anything is
 * written
 */
export function scopesOfStatement(
  builder: AnyQueryBuilder,
  entity: EncryptedEntity | undefined,
): WrittenScopes {
  if (entity === undefined || entity.scopes.length === 0) return NONE;
  return scopesOf(entity, rowsOf(builder), (row, scope) => scope.of(row));
}

function rowsOf(builder: AnyQueryBuilder): readonly Written[] {
  const { mainAlias, valuesSet } = builder.expressionMap;
  const sets = (Array.isArray(valuesSet) ? valuesSet : [valuesSet ?? []].flat()) as ObjectLiteral[];
  if (builder instanceof InsertQueryBuilder) return sets.map(inserted);
  if (!(builder instanceof UpdateQueryBuilder) || mainAlias === undefined) return [];
  const row = new UpdatedRows(builder, mainAlias.metadata);
  return sets.map((values) => ({ row, values }));
}

function inserted(values: ObjectLiteral): Written {
  return { row: insertedRow(values), values };
}

/** Returns the scopes of entities that are about to be saved, as far as they are known by now. */
export function scopesOfEntities(
  entity: EncryptedEntity,
  entities: readonly ObjectLiteral[],
): WrittenScopes {
  return scopesOf(entity, entities.map(inserted), (row, scope) => scope.ifKnown(row));
}

function scopesOf(
  { columns, scopes }: EncryptedEntity,
  rows: readonly Written[],
  scopeOf: (row: KnownRow, scope: RowScope) => Scope | undefined,
): WrittenScopes {
  const found = scopes.flatMap(({ scope: { kind } }) => {
    const own = columns.filter((column) => column.scope?.kind === kind);
    return rows.flatMap(({ row, values }) => {
      const written = own.find(({ column }) => (column.getEntityValue(values) ?? null) !== null);
      const scope = written?.scope;
      return (scope && scopeOf(row, scope)) ?? [];
    });
  });
  return { scopes: found, index: scopes.some(({ index }) => index) };
}

/** Returns the entities that `save()` writes along with some, by relations that cascade, by their metadata. */
export function savedAlong(
  metadata: EntityMetadata,
  entities: readonly ObjectLiteral[],
): ReadonlyMap<EntityMetadata, readonly ObjectLiteral[]> {
  const found = new Map<EntityMetadata, ObjectLiteral[]>();
  const seen = new Set<ObjectLiteral>();
  const visit = (each: ObjectLiteral, of: EntityMetadata): void => {
    if (seen.has(each)) return;
    seen.add(each);
    found.set(of, [...(found.get(of) ?? []), each]);
    for (const relation of of.relations) {
      if (!relation.isCascadeInsert && !relation.isCascadeUpdate) continue;
      const value: unknown = relation.getEntityValue(each);
      for (const related of Array.isArray(value) ? (value as unknown[]) : [value]) {
        if (typeof related !== 'object' || related === null || related instanceof Promise) continue;
        visit(related, relation.inverseEntityMetadata);
      }
    }
  };
  for (const each of entities) visit(each, metadata);
  return found;
}
