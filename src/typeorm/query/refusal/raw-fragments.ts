import type { ObjectLiteral } from 'typeorm';

import type { EncryptedEntity } from '../../metadata/encrypted-column';
import { DEFAULT_ORDER } from '../../sql/raw-use';
import type { Expressions } from '../any-query-builder';

import { isMadeOfProperties } from './hand-written';

/** The clause whose columns may be encrypted: they hand ciphertext back as it is. */
export const RETURNING = 'RETURNING';

/** The clause of a value that is an SQL expression. */
export const VALUE = 'a value';

/** The clause of a condition of a join, after which there may be other tables. */
export const JOIN_CONDITION = 'a join condition';

/** Hand-written SQL, and the clause that it is part of. */
export interface Fragment {
  readonly sql: string;
  readonly clause: string;
}

/**
 * Collects the hand-written SQL of a statement. In arrays rather than generators: this is done for every
 * statement, and nearly all have none.
 */
export function rawFragments(
  expressions: Expressions,
  encrypted: EncryptedEntity | undefined,
): Fragment[] {
  const fragments: Fragment[] = [];
  for (const clause of expressions.wheres) {
    if (!isMadeOfProperties(clause)) addConditions(clause, 'a where condition', fragments);
  }
  addDerivedConditions(expressions, fragments);
  addValues(expressions, encrypted, fragments);
  addReturning(expressions.returning, fragments);
  if (isChange(expressions)) addNames(expressions.orderBys, fragments);
  else addOtherClauses(expressions, fragments);
  return fragments;
}

/** Whether this is an UPDATE or DELETE, which has only conditions and an order, whatever the builder was told. */
function isChange({ queryType }: Expressions): boolean {
  return queryType !== 'select' && queryType !== 'insert';
}

function addNames(orderBys: object, fragments: Fragment[], clause = 'ORDER BY'): void {
  for (const sql in orderBys) fragments.push({ sql, clause });
}

function addOtherClauses(expressions: Expressions, fragments: Fragment[]): void {
  addConditions(expressions.havings, 'HAVING', fragments);
  for (const { condition } of expressions.joinAttributes) {
    if (condition !== undefined) fragments.push({ sql: condition, clause: JOIN_CONDITION });
  }
  const { orderBys, allOrderBys } = expressions;
  const isDefault = Object.keys(orderBys).length === 0;
  addNames(allOrderBys, fragments, isDefault ? DEFAULT_ORDER : undefined);
  for (const sql of expressions.groupBys) fragments.push({ sql, clause: 'GROUP BY' });
  for (const sql of expressions.selectDistinctOn) fragments.push({ sql, clause: 'DISTINCT ON' });
  if ('onConflict' in expressions) {
    fragments.push({ sql: String(expressions.onConflict), clause: 'ON CONFLICT' });
  }
  // Undefined for most statements, despite its type.
  const { onUpdate } = expressions as Partial<Expressions>;
  addConditions(onUpdate?.overwriteCondition, 'an overwrite condition', fragments);
  addConditions(onUpdate?.indexPredicate, 'an index predicate', fragments);
  for (const { selection } of expressions.selects) {
    if (!isPlainSelection(selection, expressions)) {
      fragments.push({ sql: selection, clause: 'a selection' });
    }
  }
}

/** Adds the hand-written strings of a condition tree, which also holds predicates that the lookup has rewritten. */
function addConditions(conditions: unknown, clause: string, fragments: Fragment[]): void {
  if (typeof conditions === 'string') fragments.push({ sql: conditions, clause });
  else if (Array.isArray(conditions)) {
    for (const each of conditions) addConditions(each, clause, fragments);
  } else if (typeof conditions === 'object' && conditions !== null && 'condition' in conditions) {
    addConditions(conditions.condition, clause, fragments);
  }
}

/** Adds object conditions on aliases without an entity, whose names are unchecked. */
function addDerivedConditions({ aliases, wheres }: Expressions, fragments: Fragment[]): void {
  if (aliases.every(({ hasMetadata }) => hasMetadata)) return;
  addOperands(wheres, fragments);
}

function addOperands(conditions: unknown, fragments: Fragment[]): void {
  if (Array.isArray(conditions)) {
    for (const each of conditions) addOperands(each, fragments);
  }
  if (typeof conditions !== 'object' || conditions === null) return;
  if ('condition' in conditions) addOperands(conditions.condition, fragments);
  if (!('parameters' in conditions) || !Array.isArray(conditions.parameters)) return;
  for (const sql of conditions.parameters as unknown[]) {
    if (typeof sql === 'string') fragments.push({ sql, clause: 'a where condition' });
  }
}

/** Adds values that are SQL expressions. Those of encrypted properties are refused elsewhere. */
function addValues(
  { queryType, valuesSet, mainAlias }: Expressions,
  encrypted: EncryptedEntity | undefined,
  fragments: Fragment[],
): void {
  if (queryType !== 'insert' && queryType !== 'update') return;
  const metadata = mainAlias?.hasMetadata === true ? mainAlias.metadata : undefined;
  const add = (values: ObjectLiteral, prefix: string): void => {
    for (const name in values) {
      const value: unknown = values[name];
      const path = prefix + name;
      if (typeof value === 'function') {
        if (encrypted?.byPropertyPath.has(path) === true) continue;
        // TypeORM ignores other properties.
        if (metadata?.findColumnsWithPropertyPath(path).length === 0) continue;
        fragments.push({ sql: String((value as () => unknown)()), clause: VALUE });
      } else if (typeof value === 'object' && value !== null) {
        if (metadata?.hasEmbeddedWithPropertyPath(path) === true) add(value, `${path}.`);
      }
    }
  };
  for (const values of Array.isArray(valuesSet) ? valuesSet : [valuesSet]) {
    if (values !== undefined) add(values as ObjectLiteral, '');
  }
}

function addReturning(returning: unknown, fragments: Fragment[]): void {
  // Lists are of properties.
  if (typeof returning === 'string') fragments.push({ sql: returning, clause: RETURNING });
}

function isPlainSelection(selection: string, { aliases }: Expressions): boolean {
  for (const alias of aliases) {
    const { name } = alias;
    // Nearly all queries select whole entities.
    if (selection === name) return true;
    if (!selection.startsWith(`${name}.`)) continue;
    const path = selection.slice(name.length + 1);
    return alias.hasMetadata && alias.metadata.findColumnWithPropertyPath(path) !== undefined;
  }
  return false;
}
