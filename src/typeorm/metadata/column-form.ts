import type { ColumnType, DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { FieldPolicy } from '../../field/field-policy';
import { dialectOf } from '../dialect/dialect-of';

/**
 * Types for which TypeORM's diff compares values as text: `===` would find an equal date, JSON value or
 * NaN changed. The driver codec sets the type in the database.
 */
export const COMPARED_AS: Partial<Record<FieldPolicy['type'], ColumnType>> = {
  date: 'simple-json',
  json: 'simple-json',
  number: 'simple-enum',
};

/** Makes the database compare a column by its bytes, and leaves out the length where its type takes none. */
export function setCiphertextForm(
  column: ColumnMetadata,
  { storage, columnLength, type }: FieldPolicy,
  dataSource: DataSource,
): void {
  const { values } = dialectOf(dataSource);
  column.type = COMPARED_AS[type] ?? column.type;
  if (storage === 'text') Object.assign(column, values.exactCleartext);
  if (values.columnType(storage, columnLength) !== values.columnType(storage, undefined)) return;
  column.length = '';
  // TypeORM gives varchar a length by default.
  if (column.type === 'varchar') column.type = 'text';
}

/** Makes the database compare a column by its bytes. */
export function setTokenForm(column: ColumnMetadata, dataSource: DataSource): void {
  Object.assign(column, dialectOf(dataSource).values.exactText);
}
