interface Flight<T> {
  readonly result: Promise<T>;
  readonly startedAt: number;
}

/** The runs in flight, each shared by concurrent callers of the same work. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Joins the run in flight under `key`, or starts one. A failure is shared, too. */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const flying = this.#flights.get(key);
    if (flying !== undefined) return flying.result;
    const result = work().finally(() => {
      // clear() may have made room for a newer flight of the same key.
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight = { result, startedAt: performance.now() };
    this.#flights.set(key, flight);
    return result;
  }

  /** Returns for how many milliseconds the run under `key` has been in flight; 0 without one. */
  age(key: string): number {
    const flying = this.#flights.get(key);
    return flying === undefined ? 0 : performance.now() - flying.startedAt;
  }

  /** Forgets the runs in flight: later callers start their own. */
  clear(): void {
    this.#flights.clear();
  }
}
