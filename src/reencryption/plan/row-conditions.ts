import { FieldEncryptionError, RunPlanError } from '../../errors';
import { isBoundField } from '../../field/field-policy';
import { FORMATS, isDataKeyId, keyPrefix } from '../../format/data-key-id';
import type { Installation } from '../../typeorm/installation/installation';
import { isCiphertextSql } from '../../typeorm/metadata/ciphertext-check';
import { assertNoUseIn } from '../../typeorm/query/refusal/statement-check';
import { underScopeKeySql } from '../database/prefix-sql';
import type { RunDatabase } from '../database/run-database';
import type { WorkTable } from '../database/work-table';
import type { Mode } from '../modes/mode';

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

/** Returns the SQL condition of the rows that a mode still has to do; `undefined` if only reading can tell. */
export function pendingCondition(
  { dataSource, keys }: Installation,
  database: RunDatabase,
  mode: Mode,
  { cells, columns }: WorkTable,
  keyIds: readonly string[],
): string | undefined {
  const { pending } = mode;
  if (pending === undefined) return undefined;
  // No ciphertext names an id of another form.
  const known = keyIds.filter(isDataKeyId);
  return columns
    .map(({ encrypted, stored }) => {
      const { policy, previousFormat } = encrypted;
      const cell = String(cells[stored]?.name);
      if (encrypted.binding?.scope !== undefined && pending === 'underOtherKey') {
        const isDone = underScopeKeySql(dataSource, cell, policy.storage, ['active', 'erased']);
        return `(${cell} IS NOT NULL AND NOT (${isDone}))`;
      }
      const isBound = isBoundField(policy);
      const format = isBound ? FORMATS.bound : FORMATS.unbound;
      const prefixes =
        pending === 'underOtherKey'
          ? [keyPrefix(keys.activeKey(policy.keyName).id, format)]
          : (isBound ? Object.values(FORMATS) : [format]).flatMap((each) =>
              known.map((id) => keyPrefix(id, each)),
            );
      const begins = database.beginsWith(cell, policy.storage, prefixes);
      if (pending !== 'encrypted') return `(${cell} IS NOT NULL AND NOT (${begins}))`;
      // Values under a key that is lost from the key table are encrypted, too; but a value in a previous
      // format may look like one.
      return previousFormat === undefined
        ? `(${begins} OR (${isCiphertextSql(dataSource, cell, policy)}))`
        : `(${begins})`;
    })
    .join(' OR ');
}
