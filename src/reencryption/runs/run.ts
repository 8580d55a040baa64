import { RunPlanError } from '../../errors';
import type { Installation } from '../../typeorm/installation/installation';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { ciphertextCheck } from '../../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import { planOf } from './make-plan';
import type { TableWork } from '../plan/work-plan';
import { ReadOnlyRun } from '../walk/read-only-run';
import type { RunContext } from '../walk/run-context';
import { TableRun } from '../walk/table-run';

import { countRows, inRun } from './in-run';
import type { RunOptions } from '../report/run-options';
import type { RunMode, RunReport } from '../report/run-report';

/**
 * Refuses to write cleartext where a CHECK constraint of the database keeps it out. The database would
 * refuse the rows itself, with their cleartext in its error.
 *
 * @throws {@link RunPlanError}
 */
async function assertUnchecked(
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

/**
 * Takes the rows of all encrypted tables through a run, while the application goes on.
 *
 * Walks each table by primary key, one page a statement, each row only if it is as it was read, so
 * that no concurrent write is lost. Runs no entity hooks and touches no version or update-date
 * column. Every page leaves a checkpoint; any number of workers may share the rows.
 *
 * @throws {@link RunPlanError}, {@link ConfigurationError}, {@link KeyStateError} before a row is touched
 * @throws {@link RunInterruptedError} when the database fails
 */
export function run(
  installation: Installation,
  modeName: RunMode,
  options: RunOptions = {},
): Promise<RunReport> {
  return inRun(installation, modeName, options, async (context, works) => {
    const { mode, store, counts } = context;
    const pending = await countRows(context, works);

    if (options.dryRun === true && mode.pending !== undefined) {
      counts.scanned = counts.total;
      counts.changed = pending.reduce((sum, rows) => sum + rows, 0);
      const plan = await planOf(installation, context.database, mode, works);
      return counts.report(modeName, false, plan);
    }
    if (options.dryRun === true || mode.writes === 'nothing') {
      for (const work of works) await new ReadOnlyRun(context, work).run();
    } else {
      await store.requireTables();
      if (modeName === 'decrypt') await assertUnchecked(installation, works);
      for (const [i, work] of works.entries()) {
        if (mode.pending === undefined || pending[i] !== 0) await runTable(context, work);
      }
    }
    return counts.report(modeName, options.signal?.aborted ?? false);
  });
}

async function runTable(context: RunContext, work: TableWork): Promise<void> {
  const { counts, options } = context;
  if (options.signal?.aborted ?? false) return;
  const table = new TableRun(context, work);
  await table.run();
  if (counts.remaining !== null) counts.remaining += (await table.rowsLeft()) ?? 0;
}
