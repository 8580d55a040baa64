import type { FindOperator, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { InstanceChecker } from 'typeorm/util/InstanceChecker.js';

import type { KnownRow } from '../../metadata/known-row';
import type { AnyQueryBuilder } from '../any-query-builder';
import { fixedValues } from '../write/fixed-values';

/** The object of conditions that TypeORM is turning into SQL, by builder. */
const conditions = new WeakMap<object, ObjectLiteral>();

/** Notes the object of conditions that a builder turns into SQL, one after the other. */
export function noteConditions(builder: object, where: ObjectLiteral): void {
  conditions.set(builder, where);
}

/** {@link noteConditions} until the end of `build`. */
export function inConditions<T>(builder: object, where: unknown, build: () => T): T {
  const outer = conditions.get(builder);
  if (typeof where === 'object' && where !== null) conditions.set(builder, where);
  try {
    return build();
  } finally {
    if (outer === undefined) conditions.delete(builder);
    else conditions.set(builder, outer);
  }
}

/** The builders that are adding an alternative to the conditions before it. */
const alternatives = new WeakSet<object>();

/** Adds an alternative to a builder: what the conditions before it fix says nothing about its rows. */
export function inAlternative<T>(builder: object, add: () => T): T {
  const isOuter = !alternatives.has(builder);
  alternatives.add(builder);
  try {
    return add();
  } finally {
    if (isOuter) alternatives.delete(builder);
  }
}

/**
 * Returns the rows that conditions are about, of which they fix some columns to one value.
 *
 * @param path - of the property that is looked up, which begins with the alias of its entity in a SELECT.
 */
export function conditionRow(builder: AnyQueryBuilder, path: string): KnownRow {
  return {
    value: (column) => {
      const where = conditions.get(builder);
      const named = where && onlyValue(column.getEntityValue(where, true) as unknown);
      return named ?? fixedBefore(builder, column, path);
    },
  };
}

function fixedBefore(builder: AnyQueryBuilder, column: ColumnMetadata, path: string): unknown {
  if (alternatives.has(builder)) return undefined;
  const [alias] = path.split('.');
  return fixedValues(builder, column.entityMetadata, alias).get(column);
}

/** Returns the one value that a condition allows; undefined for several or others. */
function onlyValue(condition: unknown): unknown {
  if (!InstanceChecker.isFindOperator(condition)) return condition ?? undefined;
  const { type, value } = condition as FindOperator<unknown>;
  if (type === 'equal') return onlyValue(value);
  const [first, ...others] = type === 'in' && Array.isArray(value) ? (value as unknown[]) : [];
  return others.length === 0 ? onlyValue(first) : undefined;
}
