import type { EntityMetadata, ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { FieldEncryptionError } from '../../../errors';
import { dialectOf } from '../../dialect/dialect-of';
import { canonicalForm, isText } from '../../metadata/canonical-value';
import { withKnownRow } from '../../metadata/known-row';
import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { RowBinding } from '../../metadata/row-binding';
import type { AnyQueryBuilder } from '../any-query-builder';

import { fixedValues } from './fixed-values';
import { restrictTo } from './restricted-rows';
import type { WrittenRow } from './written-row';

/** The rows that `save()` updates, by the values that it writes. */
const savedRows = new WeakMap<object, ObjectLiteral>();

/** Notes the row, as it was loaded, that `save()` writes values to. */
export function noteSavedRow(values: object, row: ObjectLiteral | undefined): void {
  if (row !== undefined) savedRows.set(values, row);
}

/** What the rows that an UPDATE hits have in columns that its criteria leave open, by builder. */
const hitRows = new WeakMap<object, ReadonlyMap<ColumnMetadata, unknown>>();

/** Notes what all rows that an UPDATE hits have in some columns. Returns a function that forgets it. */
export function noteHitRow(
  builder: object,
  row: ReadonlyMap<ColumnMetadata, unknown>,
): () => boolean {
  hitRows.set(builder, row);
  return () => hitRows.delete(builder);
}

/**
 * Builds an UPDATE with the rows that it hits.
 *
 * @throws {@link UnsupportedQueryError} if it changes a column that encrypted values are bound to
 */
export function writingUpdatedRows(
  builder: AnyQueryBuilder,
  entity: EncryptedEntity | undefined,
  values: () => ObjectLiteral,
  build: () => string,
): string {
  const { mainAlias } = builder.expressionMap;
  if (entity?.isBound !== true || mainAlias === undefined) return build();
  const rows = new UpdatedRows(builder, mainAlias.metadata);
  assertBoundColumnsKept(entity, values(), rows);
  return withKnownRow(rows, () => hittingJust(builder, rows.fixedOf(entity), build));
}

/** Builds the UPDATE of rows whose bound texts are the same by their bytes, where the database compares otherwise. */
function hittingJust(
  builder: AnyQueryBuilder,
  fixed: ReadonlyMap<ColumnMetadata, unknown>,
  build: () => string,
): string {
  if (fixed.size === 0 || dialectOf(builder.connection).sql.exactly === undefined) return build();
  const restore = restrictTo(builder, fixed, 'fieldEncryptionBound');
  try {
    return build();
  } finally {
    restore();
  }
}

/** The rows that an UPDATE hits, which all have the same bound columns. */
export class UpdatedRows implements WrittenRow {
  readonly #loaded: ObjectLiteral | undefined;
  readonly #fixed: ReadonlyMap<ColumnMetadata, unknown>;

  constructor(builder: AnyQueryBuilder, metadata: EntityMetadata) {
    const { valuesSet } = builder.expressionMap;
    this.#loaded = typeof valuesSet === 'object' ? savedRows.get(valuesSet) : undefined;
    this.#fixed = new Map([...fixedValues(builder, metadata), ...(hitRows.get(builder) ?? [])]);
  }

  contextFor(encrypted: EncryptedColumn, binding: RowBinding): string {
    const open = binding.columns.find((column) => this.value(column) === undefined);
    if (open !== undefined) throw notFixed(encrypted, binding, open);
    return binding.contextOf((i) => this.value(binding.columns[i]));
  }

  /** Returns the values that the criteria fix of texts which values of an entity are bound to. */
  fixedOf({ columns }: EncryptedEntity): ReadonlyMap<ColumnMetadata, unknown> {
    const bound = columns.flatMap(({ binding }) => binding?.columns ?? []).filter(isText);
    return new Map(
      bound.flatMap((column) => {
        const value = this.#fixed.get(column);
        return value === undefined ? [] : [[column, value]];
      }),
    );
  }

  /** Whether a value that is written to a bound column is the one that the rows have. */
  keeps(column: ColumnMetadata, values: ObjectLiteral): boolean {
    const before = this.value(column);
    const after: unknown = column.getEntityValue(values, true);
    try {
      const canonical = canonicalForm(column);
      return before !== undefined && canonical(before) === canonical(after);
    } catch (error) {
      if (error instanceof FieldEncryptionError) return false;
      throw error;
    }
  }

  value(column: ColumnMetadata | undefined): unknown {
    if (column === undefined) return undefined;
    return this.#fixed.get(column) ?? (this.#loaded && column.getEntityValue(this.#loaded, true));
  }
}

/** Refuses to change a column that encrypted values of the row are bound to. */
function assertBoundColumnsKept(
  { columns }: EncryptedEntity,
  values: ObjectLiteral,
  rows: UpdatedRows,
): void {
  for (const encrypted of columns) {
    for (const column of encrypted.binding?.columns ?? []) {
      if (column.getEntityValue(values) === undefined || rows.keeps(column, values)) continue;
      throw boundColumnChanged(encrypted, column);
    }
  }
}

/** Returns the error of a write that changes a column which values are bound to. */
function boundColumnChanged(
  encrypted: EncryptedColumn,
  { propertyPath }: ColumnMetadata,
): FieldEncryptionError {
  return queryRefused(
    encrypted,
    `is bound to ${propertyPath} of its row, which cannot change. Read the row, insert a copy of it with the ` +
      'other value, and delete this one, in one transaction.',
  );
}

function notFixed(
  encrypted: EncryptedColumn,
  { columns }: RowBinding,
  { propertyPath }: ColumnMetadata,
): FieldEncryptionError {
  const names = columns.map((column) => column.propertyPath).join(' and ');
  return queryRefused(
    encrypted,
    `is bound to ${names} of its row, and the criteria of the update do not fix ${propertyPath} to one value. ` +
      'Update the rows one by one, by criteria such as ' +
      `{ ${columns.map((column) => `${column.propertyPath}: …`).join(', ')} }, or load and save them.`,
  );
}
