import { Repetition } from '../../async/repetition';

import type { MaintenanceReport } from './maintenance-report';

/** Options of a schedule. */
export interface ScheduleOptions {
  /** Milliseconds between the end of one run and the next. Defaults to an hour. */
  everyMs?: number;
  /** Called after every run. */
  onReport?: (report: MaintenanceReport) => void;
  /** Called with the error of a failed run. The next one follows regardless. */
  onError?: (error: unknown) => void;
}

const HOUR_MS = 3_600_000;

/** A schedule that repeats maintenance, one run at a time. Does not keep the process alive. */
export class MaintenanceSchedule {
  readonly #repetition: Repetition;

  /** Begins at once. */
  constructor(
    run: () => Promise<MaintenanceReport>,
    { everyMs = HOUR_MS, onReport, onError }: ScheduleOptions,
  ) {
    this.#repetition = new Repetition(async () => {
      try {
        const report = await run();
        onReport?.(report);
      } catch (error) {
        onError?.(error);
      }
    }, everyMs);
  }

  /** Ends the schedule, after the run under way. */
  async stop(): Promise<void> {
    await this.#repetition.stop();
  }
}
