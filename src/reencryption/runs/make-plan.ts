import { performance } from 'node:perf_hooks';

import { withConnection } from '../../typeorm/connection/lent-connection';
import type { Installation } from '../../typeorm/installation/installation';
import { columnStatuses } from '../coverage/status';
import type { RunDatabase } from '../database/run-database';
import type { Mode } from '../modes/mode';
import type { TableWork } from '../plan/work-plan';
import type { RunOptions } from '../report/run-options';
import type { RunPlan, TablePlan } from '../report/run-report';
import { PageWork } from '../walk/page-work';

/** Rows that the estimate is made from. */
const SAMPLE_ROWS = 200;
/** Writing takes about as long as reading, decrypting and encrypting. */
const WRITING_SHARE = 2;

/** Counts what a run has to do and estimates its time, without changing anything. */
export async function makePlan(
  installation: Installation,
  database: RunDatabase,
  mode: Mode,
  works: readonly TableWork[],
  options: RunOptions,
): Promise<RunPlan> {
  const keys = await installation.keys.list();
  const statuses = await withConnection(installation.dataSource, undefined, (runner) =>
    columnStatuses(installation, runner, keys),
  );
  const tables: TablePlan[] = [];
  let seconds = 0;
  for (const work of works) {
    const { table, pending } = work;
    const [rows, left] = await database.count(table, pending ?? 'TRUE');
    const mine = table.columns.map(({ encrypted: { policy } }) => policy);
    tables.push({
      entity: table.metadata.name,
      table: table.metadata.tablePath,
      rows,
      pending: left,
      columns: statuses.filter(({ entity, property }) =>
        mine.some((policy) => policy.entity === entity && policy.property === property),
      ),
      where: options.where?.[table.metadata.name] ?? '',
      first: table.first,
    });
    seconds += left * (await secondsForRow(installation, database, mode, work));
  }
  return { mode: mode.name, tables, estimatedSeconds: Math.ceil(seconds) };
}

async function secondsForRow(
  installation: Installation,
  database: RunDatabase,
  mode: Mode,
  { table, pending = '' }: TableWork,
): Promise<number> {
  const limit = Math.min(SAMPLE_ROWS, database.maxRows(table));
  const start = performance.now();
  const page = await database.readPage(table, {
    after: undefined,
    until: undefined,
    condition: pending,
    limit,
  });
  if (page.rows === 0) return 0;
  await new PageWork({ installation, database, mode }, table, { isTrial: true }).of(page);
  return ((performance.now() - start) / 1000 / page.rows) * WRITING_SHARE;
}
