import type { QueryRunner } from 'typeorm';

import { dialectOf } from '../../dialect/dialect-of';
import type { UniqueIndex } from '../../metadata/encrypted-column';

import { tokensOf } from './row-values';
import type { ValueOfRow } from './row-values';

/**
 * Serializes the writers of each of these values until the end of the transaction.
 *
 * The database's own index does so for those that write the same token. But while a process has not
 * noticed yet that the root was rotated, two of them may write different tokens of one value, and
 * neither sees what the other has not committed. Of a tuple only the token counts, as the same clear value
 * may be written in several forms.
 */
export async function lockTokens(
  runner: QueryRunner,
  index: UniqueIndex,
  values: readonly ValueOfRow[],
): Promise<void> {
  const { column } = index.indexed;
  await dialectOf(runner.connection).transactions.lockTokens(
    runner,
    column,
    () => new Set(values.flatMap((value) => tokensOf(index, value))),
  );
}

/** Makes all writers of an index wait until the end of the transaction, which has to see what they write. */
export async function lockIndex(runner: QueryRunner, { indexed }: UniqueIndex): Promise<void> {
  await dialectOf(runner.connection).transactions.lockIndex(runner, indexed.column);
}
