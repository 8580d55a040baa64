import type { InsertQueryBuilder, ObjectLiteral } from 'typeorm';

import type { UnsupportedQueryError } from '../../../errors';
import { dialectOf } from '../../dialect/dialect-of';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { Expressions } from '../any-query-builder';

const MARK = 'field-encryption - a row with other bound columns';

/**
 * Returns an INSERT that ignores rows which are there, and no other error: where `IGNORE` means all of them, a value
 * would be cut that is too long, or a column changed that a value is bound to.
 *
 * @throws {@link UnsupportedQueryError} if TypeORM has written it in a way that is not known
 */
export function ignoreDuplicatesOnly<E extends ObjectLiteral>(
  builder: InsertQueryBuilder<E>,
  { columns: [column] }: EncryptedEntity,
  sql: string,
): string {
  const { connection, expressionMap } = builder;
  const forms = dialectOf(connection).sql;
  if (forms.onlyDuplicates === undefined) return sql;
  const changed = forms.onlyDuplicates(sql, keyOf(builder));
  if (changed !== sql || !expressionMap.onIgnore || column === undefined) return changed;
  throw queryRefused(
    column,
    'is written by an INSERT with orIgnore() that could not be kept from cutting values. Leave its comment() out, or ' +
      'orIgnore().',
  );
}

/**
 * Keeps an INSERT that ignores rows which are there from giving its entities what these have, such as their ids: saved
 * again, the entities would write over them.
 */
export function readNoRowsLeftAlone<E extends ObjectLiteral>(builder: InsertQueryBuilder<E>): void {
  const { expressionMap } = builder;
  if (!expressionMap.onIgnore) return;
  if (dialectOf(builder.connection).sql.onlyDuplicates !== undefined) builder.updateEntity(false);
}

/**
 * Returns an INSERT that fails where it would write over a row with other bound columns. A conflict target that names
 * them is enough for that, where the database goes by it.
 */
export function guardBoundRows<E extends ObjectLiteral>(
  builder: InsertQueryBuilder<E>,
  { columns }: EncryptedEntity,
  sql: string,
): string {
  const { connection, expressionMap } = builder;
  const forms = dialectOf(connection).sql;
  const { onUpdate } = expressionMap as Partial<Expressions>;
  const overwritten: unknown = onUpdate?.overwrite;
  if (forms.conflictsWithAny === undefined || !Array.isArray(overwritten)) return sql;
  const names = new Set<unknown>(overwritten);
  const bound = columns
    .filter(({ column, binding }) =>
      [column, ...(binding?.columns ?? [])].some(({ databaseName }) => names.has(databaseName)),
    )
    .flatMap(({ binding }) => binding?.columns ?? []);
  if (bound.length === 0) return sql;
  const conditions = [...new Set(bound)].map(({ databaseName }) =>
    String(forms.conflictsWithAny?.(connection.driver.escape(databaseName))),
  );
  const begin = sql.lastIndexOf(forms.upsert.update) + forms.upsert.update.length;
  // In front of the assignments, since what follows one sees what it has assigned.
  const key = keyOf(builder);
  const guard = `${key} = CASE WHEN ${conditions.join(' AND ')} THEN ${key} WHEN ${forms.fail(MARK, 'boolean')} THEN ${key} END`;
  return `${sql.slice(0, begin)}${guard}, ${sql.slice(begin)}`;
}

/** Returns a column of the primary key, escaped. */
function keyOf<E extends ObjectLiteral>({
  connection,
  expressionMap,
}: InsertQueryBuilder<E>): string {
  const [key] = expressionMap.mainAlias?.metadata.primaryColumns ?? [];
  if (key === undefined)
    throw new TypeError('a statement that writes has a table with a primary key');
  return connection.driver.escape(key.databaseName);
}

/** Returns the error for users of a statement that {@link guardBoundRows} made fail; `undefined` of any other. */
export function boundRowRefused(
  entity: EncryptedEntity | undefined,
  message: string,
): UnsupportedQueryError | undefined {
  const bound = entity?.columns.find(({ binding }: EncryptedColumn) => binding !== undefined);
  if (bound === undefined || !message.includes(MARK)) return undefined;
  return queryRefused(
    bound,
    'is bound to columns of its row, and a unique index was in the way by which the row has others. Nothing was ' +
      'written. Update that row in a statement of its own.',
  );
}
