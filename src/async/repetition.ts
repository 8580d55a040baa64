/** Work that is repeated, one run at a time, until it is stopped. Does not keep the process alive. */
export class Repetition {
  readonly #work: () => Promise<void>;
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  /**
   * Begins at once.
   *
   * @param work - reports its own failures.
   * @param everyMs - milliseconds between the end of one run and the next.
   */
  constructor(work: () => Promise<void>, everyMs: number) {
    this.#work = work;
    this.#everyMs = everyMs;
    this.#begin();
  }

  /** Ends it, after the run under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #begin(): void {
    this.#running = this.#work().then(() => {
      if (this.#stopped) return;
      this.#timer = setTimeout(() => {
        this.#begin();
      }, this.#everyMs).unref();
    });
  }
}
