import type { ObjectLiteral } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { queryRefused } from '../../metadata/encrypted-column';
import type { EncryptedColumn, EncryptedEntity } from '../../metadata/encrypted-column';
import type { RowBinding } from '../../metadata/row-binding';

/** The row whose values a statement is being built with. */
export interface WrittenRow {
  /** Returns the context of the row for an encrypted column with a binding, or throws why it is not known. */
  contextFor(encrypted: EncryptedColumn, binding: RowBinding): string;
}

let current: WrittenRow | undefined;

/** Builds a part of a statement, which is synchronous, with the values of a row. */
export function writingRow<T>(row: WrittenRow, build: () => T): T {
  const outer = current;
  current = row;
  try {
    return build();
  } finally {
    current = outer;
  }
}

/** Returns the context in which a value is encrypted; `undefined` for a column without a binding, or a row. */
export function contextOfWrittenRow(encrypted: EncryptedColumn): string | undefined {
  const { binding } = encrypted;
  return binding === undefined ? undefined : current?.contextFor(encrypted, binding);
}

/** Builds a part of an INSERT with the values of a row. */
export function writingInsertedRow<T>(values: ObjectLiteral, build: () => T): T {
  return writingRow({ contextFor: (_, binding) => binding.contextIn(values) }, build);
}

/** Refuses an INSERT that names an encrypted column and leaves one out that its values are bound to. */
export function assertBoundColumnsInserted(
  { columns, isBound }: EncryptedEntity,
  inserted: readonly ColumnMetadata[],
): void {
  if (!isBound) return;
  for (const encrypted of columns) {
    if (!inserted.includes(encrypted.column)) continue;
    const missing = encrypted.binding?.columns.find((column) => !inserted.includes(column));
    if (missing === undefined) continue;
    throw queryRefused(
      encrypted,
      `is bound to ${missing.propertyPath} of its row, which the INSERT leaves out. Insert both.`,
    );
  }
}
