import { FieldEncryptionError, RunPlanError } from '../../errors';
import type { Installation } from '../../typeorm/installation/installation';
import { assertNoUseIn } from '../../typeorm/query/refusal/statement-check';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';

/**
 * Refuses a condition of `first` that ciphertext cannot meet, or that the database does not
 * understand, by a statement that reads no rows.
 *
 * @throws {@link UnsupportedQueryError}, {@link RunPlanError}; {@link ConfigurationError} if rows are
 * hidden from the database role, whatever the condition
 */
export async function assertFirstCondition(
  installation: Installation,
  database: RunDatabase,
  table: WorkTable,
): Promise<void> {
  const { first: condition, metadata, name } = table;
  if (condition === '') return;
  assertNoUseIn(`SELECT 1 FROM ${name} WHERE (${condition})`, installation);
  try {
    await database.readPage(table, { after: undefined, until: undefined, condition, limit: 0 });
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    throw new RunPlanError(
      `The condition that "first" gives for ${metadata.name} cannot be used: ${messageOf(error)}. ` +
        'Write it in SQL of the database, with the names of plain columns of the table.',
      { entity: metadata.name, cause: error },
    );
  }
}

/** No row was read, so the message cannot quote one. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'the database refuses it';
}
