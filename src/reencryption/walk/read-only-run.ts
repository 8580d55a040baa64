import { setImmediate as nextTurn } from 'node:timers/promises';

import type { RowKey } from '../database/row';
import type { TableWork } from '../plan/work-plan';

import { paceOf } from './pace';
import { PageWork } from './page-work';
import type { RunContext } from './run-context';

/** A run that reads every row of a table, writes nothing and keeps no checkpoint. */
export class ReadOnlyRun {
  readonly #context: RunContext;
  readonly #work: TableWork;

  constructor(context: RunContext, work: TableWork) {
    this.#context = context;
    this.#work = work;
  }

  async run(): Promise<void> {
    const { installation, database, mode, options, counts } = this.#context;
    const { table } = this.#work;
    const pages = new PageWork(installation, database, mode, table);
    const pace = paceOf(this.#context, table);
    let after: RowKey | undefined;
    while (!(options.signal?.aborted ?? false)) {
      const request = { after, until: undefined, condition: '', limit: pace.rows };
      const stored = await database.readPage(table, request);
      if (stored.rows === 0) break;
      pace.saw(stored);
      const page = await pages.of(stored);
      after = page.last;
      counts.done(page, page.changes.rows.length);
      options.onProgress?.(counts.progress(table.metadata.name));
      await pace.wait(page.rows, options.signal);
      // A synchronous driver never yields: signals and the application need their turn.
      await nextTurn();
    }
    counts.endTable();
  }
}
