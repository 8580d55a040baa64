import {
  DeleteQueryBuilder,
  InsertQueryBuilder,
  SelectQueryBuilder,
  UpdateQueryBuilder,
} from 'typeorm';
import type { EntityMetadata, QueryBuilder } from 'typeorm';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';
import { EncryptedColumnGuard, unprotectedDataSource } from './column-guard';

const GUARDED = Symbol.for('typeorm-field-encryption:guarded');

const BUILDERS = [
  SelectQueryBuilder,
  InsertQueryBuilder,
  UpdateQueryBuilder,
  DeleteQueryBuilder,
  SoftDeleteQueryBuilder,
];

const guardedProperty = new WeakMap<EntityMetadata, string | null>();

/**
 * Makes every statement on an encrypted entity fail by name in a DataSource that was not wrapped.
 *
 * The column transformer refuses values; this refuses statements that carry none, such as a find on
 * an empty table. It costs one map look-up a statement and changes nothing else.
 */
export function refuseUnprotectedUse(): void {
  for (const { prototype } of BUILDERS) {
    if (GUARDED in prototype) continue;
    Object.defineProperty(prototype, GUARDED, { value: true });
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its own `this` below
    const getQuery = prototype.getQuery;
    prototype.getQuery = function (this: QueryBuilder<object>): string {
      assertProtected(this);
      return getQuery.call(this);
    };
  }
}

function assertProtected(builder: QueryBuilder<object>): void {
  for (const alias of builder.expressionMap.aliases) {
    if (!alias.hasMetadata) continue;
    const property = unprotectedPropertyOf(alias.metadata);
    if (property !== null) throw unprotectedDataSource(alias.metadata.name, property);
  }
}

function unprotectedPropertyOf(metadata: EntityMetadata): string | null {
  let property = guardedProperty.get(metadata);
  if (property === undefined) {
    const column = metadata.columns.find((c) => c.transformer instanceof EncryptedColumnGuard);
    property = column?.propertyPath ?? null;
    guardedProperty.set(metadata, property);
  }
  return property;
}
