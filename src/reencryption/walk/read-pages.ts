import { setImmediate as nextTurn } from 'node:timers/promises';

import type { RowKey, StoredPage } from '../database/row';
import type { WorkTable } from '../database/work-table';

import { paceOf } from './pace';
import { PageWork } from './page-work';
import type { WorkedPage } from './page-work';
import type { RunContext } from './run-context';

/** A page as it is stored, and as the run would leave it. */
export interface ReadPage {
  readonly stored: StoredPage;
  readonly worked: WorkedPage;
}

/**
 * Reads the rows of a table that meet a condition and applies the mode of the run to them, until its signal is
 * aborted. Writes nothing and keeps no checkpoint.
 */
export async function* readPages(
  context: RunContext,
  table: WorkTable,
  condition: string,
): AsyncGenerator<ReadPage> {
  const { installation, database, mode, options } = context;
  const pages = new PageWork({ installation, database, mode }, table, { isTrial: true });
  const pace = paceOf(context, table);
  let after: RowKey | undefined;
  while (!(options.signal?.aborted ?? false)) {
    const request = { after, until: undefined, condition, limit: pace.rows };
    const stored = await database.readPage(table, request);
    if (stored.rows === 0) return;
    pace.saw(stored);
    const worked = await pages.of(stored);
    after = worked.last;
    yield { stored, worked };
    await pace.wait(worked.rows, options.signal);
    // A synchronous driver never yields: signals and the application need their turn.
    await nextTurn();
  }
}
