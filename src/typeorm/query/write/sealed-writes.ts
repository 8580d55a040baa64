import type { ObjectLiteral } from 'typeorm';

import { isFrom, Sealed } from '../../../field/sealed';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import { sealedPlace } from '../hydration/sealed-column';

/**
 * Makes an untouched sealed value of an entity the one that TypeORM has loaded to compare it with, so that nothing
 * has changed, whatever became of its row meanwhile, and whether or not TypeORM has loaded the column.
 *
 * @returns whether it is one.
 */
export function leaveUntouched(
  encrypted: EncryptedColumn,
  value: unknown,
  databaseEntity: ObjectLiteral,
): boolean {
  if (!encrypted.isSealed || !(value instanceof Sealed)) return false;
  const place = sealedPlace(encrypted, (column): unknown => column.getEntityValue(databaseEntity));
  const isUntouched = isFrom(value, place);
  if (isUntouched) encrypted.column.setEntityValue(databaseEntity, value);
  return isUntouched;
}
