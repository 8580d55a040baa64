import { KeyStateError } from '../../errors';

/** The active version of one key name, while it may be used. */
export interface ActiveKey<T> {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  /** Epoch of its row. */
  readonly epoch: number;
  readonly key: T;
  /** When the table and the KMS were asked for it, on the manager's clock. */
  readonly confirmedAt: number;
  /** The end of its use for writing, in milliseconds since 1970 by the clock of the database. */
  readonly usableUntil: number;
  /** Whether its row may be rolled back, so that a statement must find it there. */
  readonly mayVanish?: boolean;
}

/** The active keys in memory, by name. */
export class ActiveKeys<T> {
  readonly #byName = new Map<string, ActiveKey<T>>();
  /** Outlives the keys themselves, so that a version that was seen stays the lower limit. */
  readonly #highest = new Map<string, { readonly version: number; readonly epoch: number }>();
  /** When the key of a name was last dropped. Reads from before that are outdated. */
  readonly #dropped = new Map<string, number>();

  /** Milliseconds since the key was last confirmed; Infinity for one that is not in memory. */
  age(name: string, now: number): number {
    const held = this.#byName.get(name);
    return held === undefined ? Infinity : now - held.confirmedAt;
  }

  /** Whether a key of the name was ever in memory, though it may have been dropped for its age. */
  hasHeld(name: string): boolean {
    return this.#highest.has(name);
  }

  get(name: string): ActiveKey<T> | undefined {
    return this.#byName.get(name);
  }

  /**
   * Keeps a key that was just confirmed, unless it was read before the key in memory was confirmed.
   *
   * @throws {@link KeyStateError} if the active version went backwards: the table was restored from a
   * backup or an old row was made active again. A newer epoch shows that this was accepted.
   */
  accept(candidate: ActiveKey<T>): void {
    const highest = this.#highest.get(candidate.name) ?? { version: 0, epoch: 0 };
    if (candidate.version < highest.version && candidate.epoch <= highest.epoch) {
      if (this.age(candidate.name, candidate.confirmedAt) <= 0) return;
      throw wentBackwards(candidate, highest);
    }
    const held = this.#byName.get(candidate.name);
    if (held?.version === candidate.version && candidate.confirmedAt < held.confirmedAt) return;
    const { version, epoch } = candidate;
    this.#highest.set(candidate.name, { version, epoch });
    this.#byName.set(candidate.name, candidate);
  }

  /** Forgets the key of a name, and ignores reads of it that are under way. */
  drop(name: string, now: number): void {
    this.#byName.delete(name);
    this.#dropped.set(name, now);
  }

  /** {@link ActiveKeys.drop} for the name of this key. */
  dropKey(id: string, now: number): void {
    for (const [name, held] of this.#byName) {
      if (held.id === id) this.drop(name, now);
    }
  }

  /** {@link ActiveKeys.drop} for all names. */
  dropAll(now: number): void {
    for (const name of this.#highest.keys()) this.drop(name, now);
  }

  /** Whether a read at that time is from before the key of the name was dropped. */
  isOutdated(name: string, confirmedAt: number): boolean {
    return confirmedAt < (this.#dropped.get(name) ?? -Infinity);
  }

  /** Forgets the keys that were confirmed at `time` or before. */
  dropConfirmedBy(time: number): void {
    for (const [name, held] of this.#byName) {
      if (held.confirmedAt <= time) this.#byName.delete(name);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#byName.clear();
    this.#highest.clear();
    this.#dropped.clear();
  }
}

function wentBackwards(
  candidate: ActiveKey<unknown>,
  highest: { readonly version: number; readonly epoch: number },
): KeyStateError {
  return new KeyStateError(
    `key "${candidate.name}": version ${String(candidate.version)} is active in the key table, ` +
      `but this process has used version ${String(highest.version)}. ` +
      'If the table was restored from a backup on purpose: field-encryption keys accept-epoch ' +
      `${String(Math.max(highest.epoch, candidate.epoch))} --reason "..."`,
    // A transaction that began before the rotation reads the older version, too.
    { keyId: candidate.id, retryable: true },
  );
}
