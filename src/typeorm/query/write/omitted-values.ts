import type { ObjectLiteral } from 'typeorm';

import type { Installation } from '../../installation/installation';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder, Expressions } from '../any-query-builder';

/** Whether rows may be read without the values of a column (`onUnavailable: 'omit'`). */
export function mayBeOmitted(
  { scope }: EncryptedColumn,
  { onUnavailable }: Pick<Installation['options'], 'onUnavailable'>,
): boolean {
  return scope !== undefined && onUnavailable === 'omit';
}

/**
 * Refuses an INSERT that, on a conflict, would write NULL, or the default of the column, over a value that may have
 * been omitted when its row was read. TypeORM writes one list of columns for all rows of a statement.
 *
 * @throws {@link UnsupportedQueryError}
 */
export function assertOmittedKept(
  builder: AnyQueryBuilder,
  { columns }: EncryptedEntity,
  options: Pick<Installation['options'], 'onUnavailable'>,
): void {
  const { onUpdate, valuesSet } = builder.expressionMap as Partial<Expressions>;
  const overwritten: unknown = onUpdate?.overwrite;
  if (!Array.isArray(overwritten)) return;
  const rows = [valuesSet ?? []].flat<ObjectLiteral[]>();
  for (const encrypted of columns) {
    const { column } = encrypted;
    if (!mayBeOmitted(encrypted, options) || !overwritten.includes(column.databaseName)) continue;
    if (rows.every((row) => column.getEntityValue(row) !== undefined)) continue;
    throw queryRefused(
      encrypted,
      "is undefined in a row that is to be written, as where its KMS was away when the row was read (onUnavailable: 'omit'), " +
        'and the statement would write NULL over its value. Nothing was written. Upsert rows without it in a call of ' +
        'their own, or assign null to it where it is to be emptied.',
    );
  }
}
