import { RunPlanError } from '../errors';
import { ciphertextCheck } from '../typeorm/ciphertext-check';
import { describeColumn } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { withConnection } from '../typeorm/with-connection';
import type { TableWork } from './work-plan';

/**
 * Refuses to write cleartext where a CHECK constraint of the database keeps it out. The database would
 * refuse the rows itself, with their cleartext in its error.
 *
 * @throws {@link RunPlanError}
 */
export async function assertUnchecked(
  { dataSource }: Installation,
  works: readonly TableWork[],
): Promise<void> {
  await withConnection(dataSource, undefined, async (runner) => {
    for (const { table } of works) {
      const live = await runner.getTable(table.metadata.tablePath);
      for (const { encrypted } of table.columns) {
        const { entity, property, storage } = encrypted.policy;
        const { name } = ciphertextCheck(encrypted.column, storage, dataSource);
        if (live?.checks.some((check) => check.name === name) !== true) continue;
        throw new RunPlanError(
          `${describeColumn(encrypted)}: the CHECK constraint "${name}" keeps cleartext out of its column. ` +
            'Drop it first: the next `migration:generate` does, since legacyPlaintext names the property.',
          { entity, property },
        );
      }
    }
  });
}
