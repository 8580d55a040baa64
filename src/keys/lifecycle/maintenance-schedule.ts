import { Repetition } from '../../async/repetition';

import type { MaintenanceReport } from './maintenance-report';

/** Options of a schedule. */
export interface ScheduleOptions<R extends MaintenanceReport = MaintenanceReport> {
  /** Milliseconds between the end of one run and the next. Defaults to an hour. */
  everyMs?: number;
  /** Called after every run. */
  onReport?: (report: R) => void;
  /** Called with the error of a failed run. The next one follows regardless. */
  onError?: (error: unknown) => void;
}

const HOUR_MS = 3_600_000;

/** A schedule that repeats maintenance, one run at a time. Does not keep the process alive. */
export class MaintenanceSchedule<R extends MaintenanceReport = MaintenanceReport> {
  readonly #repetition: Repetition;
  readonly #stopping = new AbortController();

  /**
   * Begins at once.
   *
   * @param run - is to end soon once the signal is aborted.
   */
  constructor(
    run: (signal: AbortSignal) => Promise<R>,
    { everyMs = HOUR_MS, onReport, onError }: ScheduleOptions<R>,
  ) {
    this.#repetition = new Repetition(async () => {
      try {
        const report = await run(this.#stopping.signal);
        onReport?.(report);
      } catch (error) {
        onError?.(error);
      }
    }, everyMs);
  }

  /** Ends the schedule, after the run under way; a re-encryption in it ends after its page. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#repetition.stop();
  }
}
