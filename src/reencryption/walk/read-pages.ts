import { setImmediate as nextTurn } from 'node:timers/promises';

import { lastKey } from '../database/row';
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
  const { installation, database, mode } = context;
  const pages = new PageWork({ installation, database, mode }, table, { isTrial: true });
  for await (const stored of storedPages(context, table, condition)) {
    yield { stored, worked: await pages.of(stored) };
  }
}

/** Reads the rows of a table that meet a condition, in the order of their keys, until the signal is aborted. */
export async function* storedPages(
  context: Pick<RunContext, 'database' | 'options'>,
  table: WorkTable,
  condition: string,
): AsyncGenerator<StoredPage> {
  const { database, options } = context;
  const pace = paceOf(context, table);
  let after: RowKey | undefined;
  while (!(options.signal?.aborted ?? false)) {
    const request = { after, until: undefined, condition, limit: pace.rows };
    const page = await database.readPage(table, request);
    if (page.rows === 0) return;
    pace.saw(page);
    yield page;
    after = lastKey(page);
    await pace.wait(page.rows, options.signal);
    // A synchronous driver never yields: signals and the application need their turn.
    await nextTurn();
  }
}
