import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

import type { RunProgress, RunReport } from '../../reencryption/report/run-report';

import { listen, tell } from './channel';
import type { WorkerOrder } from './channel';

/** Another process, with what it has reported so far. */
interface Worker {
  readonly process: ChildProcess;
  readonly ended: Promise<void>;
  progress: RunProgress | undefined;
  report: RunReport | undefined;
}

type Counts = Pick<RunProgress, 'scanned' | 'changed'>;

/** A listener to a group at work. */
export interface GroupListener {
  /** Rows that the others have looked at and changed so far. */
  onProgress(counts: Counts): void;
  /** A process ended without a report, by a signal or with an error that it printed itself. */
  onLost(how: string): void;
}

/** A group of processes that share the runs of the one that started them. */
export class WorkerGroup {
  readonly #workers: Worker[];
  readonly #listener: GroupListener;

  /** @param args - command line of the others, without the order. */
  constructor(args: readonly string[], count: number, order: WorkerOrder, listener: GroupListener) {
    this.#listener = listener;
    this.#workers = Array.from({ length: count }, () => this.#start(args, order));
  }

  /** Asks all to stop after their page under way. */
  stop(): void {
    for (const { process } of this.#workers) void tell(process, { kind: 'stop' });
  }

  /** Waits for the end of all and returns their reports; for one that was killed, its last progress. */
  async end(mode: RunReport['mode']): Promise<RunReport[]> {
    await Promise.all(this.#workers.map(({ ended }) => ended));
    return this.#workers.map(({ report, progress }) => report ?? lostReport(mode, progress));
  }

  #counts(): Counts {
    const latest = this.#workers.flatMap(({ progress }) => progress ?? []);
    return {
      scanned: latest.reduce((sum, { scanned }) => sum + scanned, 0),
      changed: latest.reduce((sum, { changed }) => sum + changed, 0),
    };
  }

  #start(args: readonly string[], order: WorkerOrder): Worker {
    const process = fork(require.resolve('../main'), [...args], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    const worker: Worker = {
      process,
      progress: undefined,
      report: undefined,
      ended: new Promise((resolve) => {
        process.on('error', () => {
          resolve();
        });
        process.on('exit', (code, signal) => {
          if (worker.report === undefined)
            this.#listener.onLost(signal ?? `exit code ${String(code)}`);
          resolve();
        });
      }),
    };
    listen(process, (news) => {
      if (news.kind === 'ready') void tell(process, { kind: 'work', order });
      if (news.kind === 'report') worker.report = news.report;
      if (news.kind === 'progress') {
        worker.progress = news.progress;
        this.#listener.onProgress(this.#counts());
      }
    });
    return worker;
  }
}

function lostReport(mode: RunReport['mode'], progress: RunProgress | undefined): RunReport {
  const { scanned = 0, changed = 0 } = progress ?? {};
  return {
    mode,
    scanned,
    changed,
    skipped: scanned - changed,
    erased: 0,
    toBeErased: 0,
    doneBefore: 0,
    conflicts: 0,
    failed: 0,
    failures: [],
    aborted: false,
    resumed: false,
    remaining: null,
  };
}
