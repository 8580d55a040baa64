import type { FieldValue, ValueType } from '../encoding/value-codec';
import type { DataKey } from '../keys/data-key';
import type { CryptoThread } from '../threads/crypto-thread';
import type { ReadThreads } from '../threads/read-threads';
import type { EncryptedColumn } from './encrypted-column';

/** Values of one request: less than a millisecond of work, so that its answer is there in time. */
const REQUEST_VALUES = 500;
/** Hydrated values of a column from one look at what threads have answered to the next. */
const BETWEEN_LOOKS = 64;
/** A longer ciphertext is decrypted in less time, for each byte of it, than it takes to send it. */
const LONGEST_SENT = 16_384;
/** Sent in the place of what is too long, and not decrypted. */
const NOT_SENT = '';

/** The ciphertexts of a column, in the order in which they will be hydrated. */
export type StoredColumn = readonly [encrypted: EncryptedColumn, stored: readonly string[]];

/** One column of a result: threads decrypt it from the end on, while it is hydrated from the beginning. */
class ColumnAhead {
  readonly #encrypted: EncryptedColumn;
  readonly #stored: readonly string[];
  /** Of its full length from the beginning, as it is filled from the end: else V8 would make it a hash table. */
  readonly #values: (FieldValue | undefined)[];
  /** Where the hydration is. */
  #at = 0;
  /** From here on, everything was handed out. */
  #end: number;

  constructor([encrypted, stored]: StoredColumn) {
    this.#encrypted = encrypted;
    this.#stored = stored;
    this.#values = new Array<FieldValue | undefined>(stored.length);
    this.#end = stored.length;
  }

  /** How many values neither the hydration nor a thread has come to. */
  get left(): number {
    return this.#end - this.#at;
  }

  get isLookDue(): boolean {
    return this.#at % BETWEEN_LOOKS === 0;
  }

  /** Whether a stored value is the one that the hydration has come to. */
  isNext(stored: unknown): boolean {
    return this.#stored[this.#at] === stored;
  }

  /** The value that the hydration has come to, where a thread has answered it. */
  take(): FieldValue | undefined {
    const at = this.#at;
    this.#at += 1;
    return this.#values[at];
  }

  /** Asks a thread for the last values that are left. */
  handOut(thread: CryptoThread, keys: readonly DataKey[]): void {
    const { policy } = this.#encrypted;
    const start = this.#end - REQUEST_VALUES;
    const stored = this.#stored
      .slice(start, this.#end)
      .map((text) => (text.length > LONGEST_SENT ? NOT_SENT : text));
    this.#end = start;
    thread.open({ policy, keys, stored }, (values) => {
      for (const [i, value] of values.entries()) {
        if (value !== undefined) this.#values[start + i] = ofThisThread(policy.type, value);
      }
    });
  }
}

/** A result that is about to be hydrated, or is. */
class ResultAhead {
  readonly owner: object;
  readonly #threads: ReadThreads;
  readonly #keys: readonly DataKey[];
  readonly #columns: ReadonlyMap<EncryptedColumn, ColumnAhead>;

  constructor(
    owner: object,
    columns: readonly StoredColumn[],
    keys: readonly DataKey[],
    threads: ReadThreads,
  ) {
    this.owner = owner;
    this.#threads = threads;
    this.#keys = keys;
    this.#columns = new Map(columns.map((column) => [column[0], new ColumnAhead(column)]));
    this.#lookAndHandOut();
  }

  take(encrypted: EncryptedColumn, stored: unknown): FieldValue | undefined {
    const column = this.#columns.get(encrypted);
    if (column?.isNext(stored) !== true) return undefined;
    if (column.isLookDue) this.#lookAndHandOut();
    return column.take();
  }

  #lookAndHandOut(): void {
    this.#threads.receive();
    for (let thread = this.#threads.free(); thread !== undefined; thread = this.#threads.free()) {
      const column = this.#mostLeft();
      if (column === undefined || column.left < REQUEST_VALUES) return;
      column.handOut(thread, this.#keys);
    }
  }

  #mostLeft(): ColumnAhead | undefined {
    return [...this.#columns.values()].toSorted((a, b) => b.left - a.left)[0];
  }
}

/**
 * Has threads decrypt very large results while TypeORM hydrates them, which is synchronous. Nobody waits
 * for a thread: what it has not answered when the hydration comes to it is decrypted then, as is all
 * that it could not do.
 */
export class ReadAhead {
  readonly #threads: ReadThreads;
  #results: readonly ResultAhead[] = [];

  constructor(threads: ReadThreads) {
    this.#threads = threads;
  }

  /** @param owner - by which the result is {@link ReadAhead.release | released} when it was hydrated, or failed */
  begin(owner: object, columns: readonly StoredColumn[], keys: readonly DataKey[]): void {
    this.#threads.start();
    this.#results = [...this.#results, new ResultAhead(owner, columns, keys, this.#threads)];
  }

  release(owner: object): void {
    if (this.#results.length === 0) return;
    this.#results = this.#results.filter((result) => result.owner !== owner);
  }

  /** The value of the ciphertext that is hydrated now, where a thread has answered it. */
  take(encrypted: EncryptedColumn, stored: unknown): FieldValue | undefined {
    for (const result of this.#results) {
      const value = result.take(encrypted, stored);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** A Date arrives as one of Node.js itself, which code in a context of its own, such as Jest, does not share. */
function ofThisThread(type: ValueType, value: FieldValue): FieldValue {
  return type === 'date' ? new Date(Number(value)) : value;
}
