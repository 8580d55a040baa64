import {
  DeleteQueryBuilder,
  InsertQueryBuilder,
  SelectQueryBuilder,
  UpdateQueryBuilder,
} from 'typeorm';
import type { EntityMetadata, QueryBuilder } from 'typeorm';
import { SoftDeleteQueryBuilder } from 'typeorm/query-builder/SoftDeleteQueryBuilder.js';
import {
  EncryptedColumnGuard,
  guardOf,
  overlookedGuardProperties,
  unprotectedDataSource,
} from './column-guard';

/** Not the same for another copy of this library, which has DataSources of its own. */
const GUARDED = Symbol('guarded');

const BUILDERS = [
  SelectQueryBuilder,
  InsertQueryBuilder,
  UpdateQueryBuilder,
  DeleteQueryBuilder,
  SoftDeleteQueryBuilder,
];

/**
 * All statements become SQL through the first; the others turn conditions into SQL before it, and
 * would hand their values to the guard transformer, which cannot name the property.
 */
const ENTRANCES = ['getQuery', 'getWhereCondition', 'buildWhere'] as const;

const guardedProperty = new WeakMap<EntityMetadata, string | null>();

/**
 * Makes every statement on an encrypted entity fail by name in a DataSource that was not wrapped.
 *
 * The column transformer refuses values; this refuses statements that carry none, such as a find on
 * an empty table. It costs one map look-up a statement and changes nothing else.
 */
export function refuseUnprotectedUse(): void {
  for (const { prototype } of BUILDERS) {
    if (Object.hasOwn(prototype, GUARDED)) continue;
    Object.defineProperty(prototype, GUARDED, { value: true });
    for (const entrance of ENTRANCES) guard(prototype, entrance);
  }
}

type Method = (this: QueryBuilder<object>, ...args: unknown[]) => unknown;

function guard(prototype: object, entrance: (typeof ENTRANCES)[number]): void {
  const methods = prototype as Partial<Record<typeof entrance, Method>>;
  const method = methods[entrance];
  if (method === undefined) return;
  methods[entrance] = function (...args) {
    assertProtected(this);
    return method.apply(this, args);
  };
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
    const column = metadata.columns.find((c) => guardOf(c) instanceof EncryptedColumnGuard);
    property = column?.propertyPath ?? overlookedGuardProperties(metadata)[0] ?? null;
    guardedProperty.set(metadata, property);
  }
  return property;
}
