/** The life of something that can be closed and used again. Work that outlives it is dropped. */
export class Lifetime {
  #generation = 0;

  /** Returns a test of whether the present life still goes on. */
  current(): () => boolean {
    const began = this.#generation;
    return () => began === this.#generation;
  }

  /** Ends it. The next one begins at once. */
  end(): void {
    this.#generation += 1;
  }
}
