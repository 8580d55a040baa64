import { outsideOfContext } from '../async/outside-context';
import { ANSWER_MS, within } from '../async/time-limit';
import { currentActor } from '../audit/actor';
import { inOneLine } from '../audit/audit-entry';
import { FieldEncryptionError } from '../errors';
import type { FieldEncryptionErrorCode } from '../errors';

import { AccessNumbers } from './access-chain';
import type { AccessLogOptions, UnnumberedEntry, WriteEntries } from './access-entry';

const MINUTE_MS = 60_000;
/** How far a clock is set back when it is corrected; more than that, and it was wrong before. */
const CORRECTION_MINUTES = 60;
/** The last minute whose text is in the order of its time. */
const LAST_MINUTE = Date.UTC(9999, 11, 31) / MINUTE_MS;
/** The most entries of actors that wait to be written, and of all others together beyond that. */
const CAPACITY = 10_000;
const SHARED_CAPACITY = 1_000;

/** Values of a property that are used, or one of a row that is revealed. */
type Use = Pick<UnnumberedEntry, 'operation' | 'entity' | 'property' | 'values'> &
  Partial<Pick<UnnumberedEntry, 'primaryKey'>>;

/** Entries that could not be written yet, and values whose uses are lost. */
interface AccessLogFailure {
  /** Undefined where something else failed, such as the sink or the database. */
  readonly code: FieldEncryptionErrorCode | undefined;
  /** Of what failed; undefined where uses were lost before. */
  readonly message: string | undefined;
  readonly waiting: number;
  readonly dropped: number;
}

/** The parts of an access log. */
export interface AccessLogParts {
  readonly write: WriteEntries;
  /** Returns the actor of what happens now. */
  readonly actor: () => string;
  readonly wallClock: () => Date;
  readonly onFailure: (failure: AccessLogFailure) => void;
}

/**
 * Counts who uses values of which property, in memory, and writes what it has counted every minute. Reading never
 * waits for it. What cannot be written waits, up to a bound, and is lost with the process.
 */
export class AccessLog {
  readonly #parts: AccessLogParts;
  #waiting = new Map<string, { -readonly [P in keyof UnnumberedEntry]: UnnumberedEntry[P] }>();
  /** What is being written, until it is. */
  #batch: readonly UnnumberedEntry[] = [];
  #minute = 0;
  #dropped = 0;
  #failure: unknown;
  #timer: NodeJS.Timeout | undefined;
  #flushing = Promise.resolve();

  constructor(parts: AccessLogParts) {
    this.#parts = parts;
  }

  /** Entries that wait to be written. */
  get size(): number {
    return this.#waiting.size + this.#batch.length;
  }

  /** What the last attempt to write failed with; undefined if it did not. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Notes a use by the actor at work. Does not throw, whatever the application's clock and actor do. */
  note(use: Use): void {
    const { breakGlass = false, reason = '' } = currentActor() ?? {};
    const isGiven = reason !== '' && (breakGlass || use.operation === 'reveal');
    try {
      this.#advance();
      this.#add(use, this.#parts.actor(), isGiven ? inOneLine(reason) : null);
    } catch {
      this.#drop(use.values);
    }
  }

  /** Writes what was noted up to now. Reports its own failures. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => outsideOfContext(() => this.#write()));
    return this.#flushing;
  }

  /** Writes what can be written in a limited time, and gives up the rest. */
  async stop(): Promise<void> {
    await within(ANSWER_MS, this.flush()).catch(() => undefined);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.size + this.#dropped === 0) return;
    for (const { values } of [...this.#batch, ...this.#waiting.values()]) this.#dropped += values;
    this.#batch = [];
    this.#waiting.clear();
    this.#report(undefined);
  }

  /** A clock that is corrected must not put entries out of order: older ones are removed by their time. */
  #advance(): void {
    const minute = Math.floor(this.#parts.wallClock().getTime() / MINUTE_MS);
    if (!(minute >= 0 && minute <= LAST_MINUTE)) throw new RangeError('not a time');
    if (minute < this.#minute - CORRECTION_MINUTES) this.#minute = minute;
    this.#minute = Math.max(this.#minute, minute);
  }

  /** Counts values whose use is lost, which is reported when entries are written. */
  #drop(values: number): void {
    this.#dropped += values;
    this.#timer ??= this.#writeLater();
  }

  #add(use: Use, actor: string | null, reason: string | null): void {
    const { operation, entity, property, values, primaryKey = null } = use;
    // Actors and reasons have no control characters.
    const names = `${String(this.#minute)}\0${operation}\0${entity}\0${property}`;
    const key = `${names}\0${actor ?? '\0'}\0${reason ?? ''}\0${primaryKey === null ? '' : JSON.stringify(primaryKey)}`;
    const known = this.#waiting.get(key);
    if (known !== undefined) {
      known.values += values;
    } else if (this.#waiting.size < CAPACITY + (actor === null ? SHARED_CAPACITY : 0)) {
      const time = new Date(this.#minute * MINUTE_MS).toISOString();
      const named = { time, actor, operation, entity, property };
      this.#waiting.set(key, { ...named, values, primaryKey, reason });
      this.#schedule();
    } else if (actor === null) {
      this.#drop(values);
    } else {
      this.#add({ ...use, primaryKey: null }, null, null);
    }
  }

  #schedule(): void {
    // Only when it becomes half full, since it stays so while nothing can be written.
    if (this.#waiting.size === CAPACITY / 2) void this.flush();
    this.#timer ??= this.#writeLater();
  }

  #writeLater(): NodeJS.Timeout {
    return outsideOfContext(() => setTimeout(() => void this.flush(), MINUTE_MS).unref());
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const isRetry = this.#batch.length > 0;
    if (!isRetry) {
      this.#batch = [...this.#waiting.values()];
      this.#waiting.clear();
    }
    try {
      if (this.#batch.length > 0) await this.#parts.write(this.#batch);
      this.#batch = [];
      this.#failure = undefined;
      if (this.#dropped > 0) this.#report(undefined);
    } catch (error) {
      this.#failure = error;
      this.#report(error);
      this.#schedule();
      return;
    }
    if (isRetry) await this.#write();
  }

  #report(error: unknown): void {
    const code = error instanceof FieldEncryptionError ? error.code : undefined;
    const message = error instanceof Error ? error.message : undefined;
    this.#parts.onFailure({ code, message, waiting: this.size, dropped: this.#dropped });
    this.#dropped = 0;
  }
}

/** Hands entries to a sink. */
export function sinkWriter(sink: NonNullable<AccessLogOptions['sink']>): WriteEntries {
  const numbers = new AccessNumbers();
  return async (entries) => {
    await within(ANSWER_MS, Promise.resolve(sink(numbers.of(entries))));
    numbers.taken(entries);
  };
}
