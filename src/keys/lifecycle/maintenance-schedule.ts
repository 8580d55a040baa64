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
  readonly #run: () => Promise<MaintenanceReport>;
  readonly #options: ScheduleOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  /** Begins at once. */
  constructor(run: () => Promise<MaintenanceReport>, options: ScheduleOptions) {
    this.#run = run;
    this.#options = options;
    this.#begin();
  }

  /** Ends the schedule, after the run under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #begin(): void {
    this.#running = this.#runOnce().then(() => {
      if (this.#stopped) return;
      this.#timer = setTimeout(() => {
        this.#begin();
      }, this.#options.everyMs ?? HOUR_MS).unref();
    });
  }

  async #runOnce(): Promise<void> {
    const { onReport, onError } = this.#options;
    try {
      const report = await this.#run();
      onReport?.(report);
    } catch (error) {
      onError?.(error);
    }
  }
}
