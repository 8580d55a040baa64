import type { TableWork } from '../plan/work-plan';

import { readPages } from './read-pages';
import type { RunContext } from './run-context';

/** Reads every row of a table and counts what is wrong. Writes nothing. */
export async function readOnlyRun(context: RunContext, { table }: TableWork): Promise<void> {
  const { counts, options } = context;
  for await (const { worked } of readPages(context, table, '')) {
    counts.done(worked, worked.changes.rows.length);
    options.onProgress?.(counts.progress(table.metadata.name));
  }
  counts.endTable();
}
