import { isUint8Array } from 'node:util/types';
import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { UniqueIndex } from '../../metadata/encrypted-column';

/** A column that completes the tuple of a unique index, with the value that is about to be stored in it. */
export interface Member {
  readonly column: ColumnMetadata;
  readonly stored: unknown;
}

/** Values that are about to be stored under a unique index, in tuples that agree in all but the value. */
export interface Tuples {
  readonly values: readonly unknown[];
  /** Without members that only the database knows. */
  readonly members: readonly Member[];
}

/** The change that an UPDATE makes to the tuples of a unique index. */
export interface TupleChange {
  /** The new value; undefined if each row keeps its own. */
  readonly value: unknown;
  readonly members: readonly Member[];
  /** Columns that keep their values. */
  readonly kept: readonly ColumnMetadata[];
}

/** Stands for a value that the database computes: SQL of the application, or a default. */
const COMPUTED = Symbol('computed');

/**
 * Returns the tuples that an INSERT is about to store, without those that hold a NULL and have no duplicates.
 *
 * @param columns - those that the statement names
 */
export function insertedTuples(
  { encrypted, indexed }: UniqueIndex,
  valueSets: readonly ObjectLiteral[],
  columns: ReadonlySet<ColumnMetadata>,
): Tuples[] {
  const groups: { readonly members: readonly Member[]; readonly values: unknown[] }[] = [];
  for (const valueSet of valueSets) {
    const value: unknown = encrypted.column.getEntityValue(valueSet);
    if (isNone(value)) continue;
    const written = indexed.uniqueWith.map((column) => ({
      column,
      stored: (columns.has(column) ? storedIn(column, valueSet) : undefined) ?? defaultOf(column),
    }));
    if (written.some(({ stored }) => isNone(stored))) continue;
    const members = written.filter(({ stored }) => stored !== COMPUTED);
    const group = groups.findLast(
      (each) =>
        each.members.every((member, i) => isSame(member, members[i])) &&
        each.members.length === members.length,
    );
    if (group === undefined) groups.push({ members, values: [value] });
    else group.values.push(value);
  }
  return groups;
}

/** Returns the change that an UPDATE is about to make; undefined if it cannot make a duplicate. */
export function tupleChange(
  { encrypted, indexed }: UniqueIndex,
  valueSet: ObjectLiteral,
): TupleChange | undefined {
  const value: unknown = encrypted.column.isUpdate
    ? encrypted.column.getEntityValue(valueSet)
    : undefined;
  const written = indexed.uniqueWith.map((column) => ({
    column,
    stored: column.isUpdate ? storedIn(column, valueSet) : undefined,
  }));
  if (value === null || written.some(({ stored }) => stored === null)) return undefined;
  const kept = written.filter(({ stored }) => stored === undefined).map(({ column }) => column);
  if (value === undefined && kept.length === written.length) return undefined;
  const members = written.filter(({ stored }) => stored !== undefined && stored !== COMPUTED);
  return { value, members, kept };
}

/** Returns what TypeORM stores of a value set in a column that is not encrypted. */
function storedIn(column: ColumnMetadata, valueSet: ObjectLiteral): unknown {
  const value: unknown = column.getEntityValue(valueSet);
  if (isNone(value)) return value;
  if (typeof value === 'function') return COMPUTED;
  const isEntity = typeof value === 'object' && !(value instanceof Date) && !isUint8Array(value);
  if (column.referencedColumn !== undefined && isEntity) {
    return column.referencedColumn.getEntityValue(value) as unknown;
  }
  return column.entityMetadata.connection.driver.preparePersistentValue(value, column) as unknown;
}

function defaultOf({ default: value }: ColumnMetadata): unknown {
  return isNone(value) ? null : COMPUTED;
}

function isSame(a: Member, b: Member | undefined): boolean {
  return a.column === b?.column && Object.is(a.stored, b.stored);
}

function isNone(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
