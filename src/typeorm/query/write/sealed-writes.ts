import type { ObjectLiteral } from 'typeorm';

import { UnsupportedValueError } from '../../../errors';
import { isSamePlace, MASK, Sealed, sealedPlace } from '../../../field/sealed';
import { describeColumn } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';

/**
 * Makes an untouched sealed value of an entity the one that TypeORM has loaded to compare it with, so that nothing
 * has changed, whatever became of its ciphertext meanwhile.
 *
 * @throws {@link UnsupportedValueError} for one of another row, and for the mask
 */
export function leaveUntouched(
  encrypted: EncryptedColumn,
  entity: ObjectLiteral,
  databaseEntity: ObjectLiteral,
): void {
  const { column, isSealed } = encrypted;
  if (!isSealed) return;
  const value: unknown = column.getEntityValue(entity);
  const stored: unknown = column.getEntityValue(databaseEntity);
  const isUntouched =
    value instanceof Sealed &&
    stored instanceof Sealed &&
    isSamePlace(sealedPlace(value), sealedPlace(stored));
  if (isUntouched) column.setEntityValue(databaseEntity, value);
  else requireUnsealed(encrypted, value);
}

/** @throws {@link UnsupportedValueError} for a sealed value, or what such a one shows of itself */
export function requireUnsealed(encrypted: EncryptedColumn, value: unknown): void {
  const { entity, property } = encrypted.policy;
  if (value instanceof Sealed) {
    throw new UnsupportedValueError(
      `${describeColumn(encrypted)}: a sealed value is written that was not read from this row. ` +
        'Write what await reveal() returns.',
      { entity, property },
    );
  }
  if (encrypted.isSealed && value === MASK) {
    throw new UnsupportedValueError(
      `${describeColumn(encrypted)}: the mask of a sealed value is written, as when a form is sent back unchanged. ` +
        'Leave the property out of what is written unless it was changed.',
      { entity, property },
    );
  }
}
