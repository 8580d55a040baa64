import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ScopeMismatchError } from '../../../errors';
import { keyUnusable } from '../../../field/field-errors';
import { NoScopeKeyError } from '../../../keys/scopes/scope-key-errors';
import type { Installation } from '../../installation/installation';
import { queryRefused, scopeOfValue } from '../../metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import { knownRow, withKnownRow } from '../../metadata/known-row';
import type { KnownRow } from '../../metadata/known-row';
import { inRow } from '../../metadata/row-binding';
import { StoredInRow } from '../../metadata/stored-in-row';

/** Returns the row whose scope the tokens of an index are made in, to be known once its keys are. */
export function rowOfScope(
  { scope: declared }: EncryptedColumn,
  { isScoped }: IndexedColumn,
): KnownRow | undefined {
  const scope = isScoped ? declared : undefined;
  if (scope === undefined) return undefined;
  const { id } = scope.current();
  return { value: (column) => (column === scope.column ? id : undefined) };
}

/**
 * Refuses a look-up whose scope the context alone says, while rows of other scopes may have the same token, as it
 * is under the common index key.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertScopeInCondition(
  encrypted: EncryptedColumn,
  { isScoped }: IndexedColumn,
): void {
  const { policy, scope } = encrypted;
  if (!isScoped || scope === undefined || !policy.readsUnscoped) return;
  scope.current();
  const { column, kind } = scope;
  if (column !== undefined && knownRow()?.value(column) !== undefined) return;
  const until = `wait until every value has a key of its ${kind}, and take it out of legacyScope`;
  throw queryRefused(
    encrypted,
    `is looked up by the ${kind} of the context alone, and its rows may still have tokens under the common index ` +
      `key (legacyScope), which are the same for each ${kind}. ` +
      (column === undefined
        ? `To look it up, ${until}.`
        : `Add ${column.propertyPath} to the condition, or ${until}.`),
  );
}

/** Makes tokens once their key is in memory: that of all rows, or that of the scope of a row. */
export async function withIndexKeys<T>(
  installation: Installation,
  { scope: declared, policy }: EncryptedColumn,
  { isScoped }: IndexedColumn,
  parts: {
    readonly row: KnownRow | undefined;
    readonly queryRunner: QueryRunner | undefined;
    readonly work: () => T;
    /** Whether missing keys of a scope are created, as for tokens to be written. Defaults to `false`. */
    readonly creates?: boolean;
  },
): Promise<T> {
  const { row, queryRunner, work, creates = false } = parts;
  const scope = isScoped ? declared : undefined;
  const isOfScope = scope !== undefined && row !== undefined;
  const named = (error: unknown): never => {
    throw keyUnusable(policy, error);
  };
  if (!isOfScope || policy.readsUnscoped) {
    await installation.prepareIndexRoot(queryRunner).catch(named);
  }
  if (!isOfScope) return work();
  // Anybody may look up an id that does not exist, which is to leave nothing behind.
  const how = { index: true, creates };
  await installation.prepareScopes([scope.of(row)], how, queryRunner)?.catch(named);
  return withTokensOf(row, work);
}

/** Makes tokens for a row once its keys were prepared; such as match nothing if its scope has none. */
export function withTokensOf<T>(row: KnownRow, work: () => T): T {
  try {
    return withKnownRow(row, work);
  } catch (error) {
    if (!(error instanceof NoScopeKeyError)) throw error;
    return withKnownRow({ ...row, hasNoKeys: true }, work);
  }
}

/**
 * Returns a value that a token was found for, with its row; undefined for a row of another scope, whose token
 * may be equal by chance.
 *
 * @param place - the row of the scope that the token was made in, and what the found one has in bound columns
 */
export function inRowOfScope(
  { keys }: Installation,
  encrypted: EncryptedColumn,
  stored: unknown,
  { row, cell }: { row: KnownRow | undefined; cell: (position: number) => unknown },
): unknown {
  const { binding, scope } = encrypted;
  if (binding === undefined || scope === undefined) return inRow(encrypted, stored, cell);
  const { columns } = binding;
  const value = (column: ColumnMetadata): unknown => cell(columns.lastIndexOf(column));
  try {
    const id = scope.ofRead({ value }, scopeOfValue(keys, encrypted, stored)) ?? '';
    const isOther = row !== undefined && scope.of(row).id !== id;
    return isOther ? undefined : new StoredInRow(stored, binding.contextOf(cell, id));
  } catch (error) {
    if (error instanceof ScopeMismatchError) return undefined;
    throw error;
  }
}
