import type { QueryRunner } from 'typeorm';

import type { Installation } from '../../installation/installation';
import type { EncryptedColumn, IndexedColumn } from '../../metadata/encrypted-column';
import { withKnownRow } from '../../metadata/known-row';
import type { KnownRow } from '../../metadata/known-row';

/** Returns the row whose scope the tokens of an index are made in, to be known once its keys are. */
export function rowOfScope(
  { binding }: EncryptedColumn,
  { isScoped }: IndexedColumn,
): KnownRow | undefined {
  const scope = isScoped ? binding?.scope : undefined;
  if (scope === undefined) return undefined;
  const { id } = scope.current();
  return { value: (column) => (column === scope.column ? id : undefined) };
}

/** Makes tokens once their key is in memory: that of all rows, or that of the scope of a row. */
export async function withIndexKeys<T>(
  installation: Installation,
  { binding }: EncryptedColumn,
  { isScoped }: IndexedColumn,
  parts: {
    readonly row: KnownRow | undefined;
    readonly queryRunner: QueryRunner | undefined;
    readonly work: () => T;
  },
): Promise<T> {
  const { row, queryRunner, work } = parts;
  const scope = isScoped ? binding?.scope : undefined;
  if (scope === undefined || row === undefined) {
    await installation.prepareIndexRoot(queryRunner);
    return work();
  }
  await installation.prepareScopes([scope.of(row)], { index: true }, queryRunner);
  return withKnownRow(row, work);
}
