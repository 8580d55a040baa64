/** An answer that everybody who waits shares, and that is asked for again when it is old. */
export class Remembered<T> {
  readonly #ask: () => Promise<T>;
  #answer: Promise<T> | undefined;
  /** When the answer came, on the monotonic clock; `Infinity` while it is awaited. */
  #cameAt = -Infinity;

  /** @param ask - must settle: nobody asks again before. */
  constructor(ask: () => Promise<T>) {
    this.#ask = ask;
  }

  /** The answer that is awaited, or came less than `maxAgeMs` ago, or a new one. */
  get(maxAgeMs: number): Promise<T> {
    if (this.#answer === undefined || performance.now() - this.#cameAt >= maxAgeMs) {
      this.#cameAt = Infinity;
      this.#answer = this.#ask().finally(() => {
        this.#cameAt = performance.now();
      });
    }
    return this.#answer;
  }
}
