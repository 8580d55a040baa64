/** How many entries are kept for certain, and twice as many at most that were not used a moment ago. */
const CAPACITY = 4096;
/** Milliseconds in which what was asked for is used: by a statement that is being made, or rows that were read. */
const IN_USE_MS = 5_000;

/**
 * A map that forgets what was not used for a while, once it is full. What was used in the last seconds stays,
 * however much that is: a statement may need more than fits, and others must not take it away.
 */
export class RecentEntries<T> {
  readonly #clock: () => number;
  #recent = new Map<string, T>();
  #former = new Map<string, T>();
  #turnedAt = -Infinity;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#recent.size + this.#former.size;
  }

  /** Counts as a use. */
  get(key: string): T | undefined {
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent;
    const former = this.#former.get(key);
    if (former !== undefined) this.set(key, former);
    return former;
  }

  set(key: string, entry: T): void {
    this.#former.delete(key);
    this.#recent.set(key, entry);
    if (this.#recent.size <= CAPACITY) return;
    const now = this.#clock();
    if (now - this.#turnedAt < IN_USE_MS) return;
    this.#former = this.#recent;
    this.#recent = new Map();
    this.#turnedAt = now;
  }

  delete(key: string): void {
    this.#recent.delete(key);
    this.#former.delete(key);
  }

  deleteIf(isOver: (entry: T) => boolean): void {
    for (const entries of [this.#recent, this.#former]) {
      for (const [key, entry] of entries) if (isOver(entry)) entries.delete(key);
    }
  }

  clear(): void {
    this.#recent.clear();
    this.#former.clear();
  }
}
