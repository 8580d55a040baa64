/** How long a failing source is left alone while cached keys still serve. */
const RETRY_AFTER_MS = 1000;

/** A refresh in the background: one run at a time, and none right after a failure. */
export class BackgroundRefresh {
  readonly #clock: () => number;
  #running = false;
  #notBefore = -Infinity;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Starts `work`, unless a refresh is running or has just failed. The work reports its own failures. */
  start(work: () => Promise<void>): void {
    if (this.#running || this.#clock() < this.#notBefore) return;
    this.#running = true;
    void work()
      .catch(() => {
        this.#notBefore = this.#clock() + RETRY_AFTER_MS;
      })
      .finally(() => {
        this.#running = false;
      });
  }

  /** Allows a refresh at once. */
  reset(): void {
    this.#running = false;
    this.#notBefore = -Infinity;
  }
}
