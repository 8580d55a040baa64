/** Lets concurrent callers of the same work share one run of it. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>();

  /** Joins the run in flight under `key`, or starts one. A failure is shared, too, and then forgotten. */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const flying = this.#flights.get(key);
    if (flying !== undefined) return flying;
    const flight = work().finally(() => {
      // clear() may have made room for a newer flight of the same key.
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
  }

  /** Forgets the runs in flight: later callers start their own. */
  clear(): void {
    this.#flights.clear();
  }
}
