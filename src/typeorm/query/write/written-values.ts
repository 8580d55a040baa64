import type { ObjectLiteral } from 'typeorm';

import { Sealed } from '../../../field/sealed';
import { installationOf } from '../../installation/installations';
import type { Installation } from '../../installation/installation';
import { countValues, noteUse, requireUse } from '../../installation/value-use';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { AnyQueryBuilder } from '../any-query-builder';

/**
 * Refuses rows with encrypted values to an actor that may not use them, before a key is prepared for these. Listeners
 * may add some later; see {@link noteWritten}.
 *
 * @throws {@link AccessDeniedError}
 */
export function requireUseOfWritten(
  installation: Installation,
  { columns }: EncryptedEntity,
  rows: readonly ObjectLiteral[],
): void {
  if (!installation.access.isOn) return;
  for (const encrypted of columns) {
    if (countWritten(encrypted, rows) > 0) requireUse(installation, encrypted, 'encrypt');
  }
}

/**
 * Notes the encrypted values of a statement that is about to be built, with what listeners have made of them.
 *
 * @throws {@link AccessDeniedError}
 */
export function noteWritten(builder: AnyQueryBuilder, { columns }: EncryptedEntity): void {
  const rows = writtenRows(builder);
  for (const encrypted of columns) {
    const count = (): number => countWritten(encrypted, rows);
    noteUse(installationOf(builder.connection), encrypted, 'encrypt', count);
  }
}

/** Returns the values that a statement writes, row by row. */
export function writtenRows({ expressionMap }: AnyQueryBuilder): readonly ObjectLiteral[] {
  return [expressionMap.valuesSet ?? []].flat<ObjectLiteral[]>();
}

/** Sealed values are left alone, or refused. */
function countWritten({ column }: EncryptedColumn, rows: readonly ObjectLiteral[]): number {
  return countValues(rows, (row): unknown => {
    const value: unknown = column.getEntityValue(row);
    return value instanceof Sealed ? null : value;
  });
}
