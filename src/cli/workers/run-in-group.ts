import { workerOptions } from '../../reencryption/report/run-options';
import { defined } from '../../typeorm/declare/option-rules';
import type { RunOptions } from '../../reencryption/report/run-options';
import { mergedReport } from '../../reencryption/report/merged-report';
import type { RunProgress, RunReport, WritingMode } from '../../reencryption/report/run-report';
import { leaveRuns, openRuns, remainingRows } from '../../reencryption/runs/shared-run';
import type { OpenedRuns } from '../../reencryption/runs/shared-run';
import type { Session } from '../load/session';

import type { WorkerOrder } from './channel';
import { WorkerGroup } from './worker-group';
import { joinRuns } from './worker-process';

/**
 * Runs over the rows in several processes, of which this is one. If one of them dies, the others take
 * over its range.
 */
export async function runInGroup(
  session: Session,
  mode: WritingMode,
  options: RunOptions,
  processes: number,
): Promise<RunReport> {
  const opened = await openRuns(session.installation, mode, options);
  if (opened.runs.length === 0) return opened.before;
  const order = orderFor(mode, options, opened, processes);
  const progress = new GroupProgress(opened, options.onProgress);
  const group = new WorkerGroup(workerArguments(session), processes - 1, order, {
    onProgress: (counts) => {
      progress.ofOthers(counts);
    },
    onLost: (how) => {
      session.output.progress(`A worker ended early (${how}). The others have its rows.`);
    },
  });
  const stop = (): void => {
    group.stop();
  };
  options.signal?.addEventListener('abort', stop);
  try {
    const own = await joinRuns(session.installation, {
      ...order,
      options: { ...order.options, ...ownOptions(options, progress) },
    });
    return await reportOf(session, order, own, [opened.before, ...(await group.end(mode))]);
  } catch (error) {
    stop();
    await group.end(mode);
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', stop);
    await leaveRuns(session.installation, order.runs);
  }
}

/** Returns the order for all processes: to join the runs, which have been begun by now. */
function orderFor(
  mode: WritingMode,
  options: RunOptions,
  { runs }: OpenedRuns,
  processes: number,
): WorkerOrder {
  const { scopes, where, parameters, first, maxRate } = options;
  return {
    mode,
    runs: runs.map(({ id }) => id),
    options: {
      columns: runs.flatMap(({ columns }) => columns),
      ...workerOptions(options),
      ...defined({ scopes, where, parameters, first }),
      ...defined({ maxRate: maxRate && maxRate / processes }),
    },
  };
}

function ownOptions({ signal }: RunOptions, progress: GroupProgress): RunOptions {
  return {
    ...defined({ signal }),
    onProgress: (own) => {
      progress.ofThis(own);
    },
  };
}

function workerArguments({ dataSourcePath }: Session): string[] {
  const verbose = process.argv.includes('--verbose') ? ['--verbose'] : [];
  return ['-d', dataSourcePath, ...verbose, 'data', 'worker'];
}

async function reportOf(
  { installation }: Session,
  { mode, options }: WorkerOrder,
  own: RunReport,
  others: readonly RunReport[],
): Promise<RunReport> {
  const remaining = own.aborted ? null : await remainingRows(installation, mode, options);
  return mergedReport({ ...own, remaining }, others);
}

/** The progress of all processes together. */
class GroupProgress {
  readonly #opened: OpenedRuns;
  readonly #report: RunOptions['onProgress'];
  #own: RunProgress;
  #others: Pick<RunProgress, 'scanned' | 'changed'> = { scanned: 0, changed: 0 };

  constructor(opened: OpenedRuns, report: RunOptions['onProgress']) {
    this.#opened = opened;
    this.#report = report;
    const entity = opened.runs[0]?.entity ?? '';
    this.#own = { entity, scanned: 0, total: 0, doneBefore: 0, changed: 0 };
  }

  ofThis(own: RunProgress): void {
    this.#own = own;
    this.#tell();
  }

  ofOthers(others: Pick<RunProgress, 'scanned' | 'changed'>): void {
    this.#others = others;
    this.#tell();
  }

  #tell(): void {
    const { before, total } = this.#opened;
    const scanned = before.scanned + this.#own.scanned + this.#others.scanned;
    this.#report?.({
      entity: this.#own.entity,
      scanned: Math.min(scanned, total),
      total,
      doneBefore: before.doneBefore,
      changed: this.#own.changed + this.#others.changed,
    });
  }
}
