import type { KeyPurpose, KeyRecord } from '../record/key-record';
import type { StateChange } from '../record/key-macs';

/** The fields that a change of a key record may set; the rest is fixed for life, or counted ({@link KeyStore.addUses}). */
export type MutableKeyFields = Omit<
  KeyRecord,
  'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount'
>;

/** The fields that an update sets. Those that the state MAC covers come with a new MAC, or not at all. */
export type KeyUpdate = Partial<Omit<MutableKeyFields, keyof StateChange>> &
  (StateChange | { readonly [F in keyof StateChange]?: never });

/** One step of {@link KeyStore.apply}. */
export type KeyChange = {
  /** Set if an operator has vouched for a key that proves nothing by itself. For the audit log. */
  readonly adopted?: boolean;
} & (
  | {
      readonly type: 'insert';
      readonly record: KeyRecord;
      /** Id of the backup that the key is restored from. */
      readonly restoredFrom?: string;
    }
  | {
      /**
       * Takes place only if the row still has the state, the epoch and the wrapped key of `expected`. If there
       * are copies of it, all of them are taken out of use, and none is put into use.
       */
      readonly type: 'update';
      readonly expected: KeyRecord;
      readonly set: KeyUpdate;
      /** Why the row is accepted as the newest, though a newer one was seen. */
      readonly acceptedFor?: string;
      /** `false` if the row does not prove that this library wrote it. For the audit log. */
      readonly isProven?: boolean;
    }
);

/**
 * The port to the key table.
 *
 * Records come back exactly as they were given: the same bytes, and dates to the second. Errors of the
 * database are thrown unchanged; transient conflicts (serialization failures, deadlocks, a busy file) are
 * retried by the implementation.
 *
 * @typeParam C - the caller's connection, opaque to the keys. Reads go through it if it is given, so that
 * a caller inside a transaction never waits for a second connection from the same pool.
 */
export interface KeyStore<C = unknown> {
  /** Whether the table exists. */
  exists(connection?: C): Promise<boolean>;

  /**
   * Returns the active keys among `names`, and the pre-active ones that are to follow them. Of index roots,
   * all that are not destroyed: a token does not say which root it comes from.
   */
  findCurrent(purpose: KeyPurpose, names: readonly string[], connection?: C): Promise<KeyRecord[]>;

  /** Returns the keys with these ids, perhaps thousands, in any state and order. Leaves out unknown ids. */
  findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]>;

  /**
   * Returns ids of keys under which values are stored in columns that name this key, from a bounded number
   * of rows; empty if there are none, or only cleartext.
   */
  keysOfStoredValues(name: string, connection?: C): Promise<string[]>;

  /**
   * Returns the time by the clock of the database, which is the same for all processes: a host's own clock
   * must not decide when a key may be used or erased.
   */
  now(connection?: C): Promise<Date>;

  /**
   * Returns by how many milliseconds reads through a connection may be outdated: the age of a transaction
   * that sees the database as it was at its beginning, 0 for others.
   */
  snapshotAge(connection: C): Promise<number>;

  /** Returns every key of every purpose and state. */
  list(connection?: C): Promise<KeyRecord[]>;

  /** Returns ids that several rows have: none, as long as the table has its primary key. Other methods see one. */
  duplicates(connection?: C): Promise<string[]>;

  /**
   * Refuses if {@link KeyStore.insertFirst} is bound to refuse, before a key is created in vain.
   *
   * @throws {@link KeyStateError}, retryable, for a connection in a transaction
   */
  requireInsertable(key: Pick<KeyRecord, 'purpose' | 'name'>, heldByCaller?: C): void;

  /**
   * Inserts an active key, durable before the promise resolves, in a transaction of its own: if the key
   * vanished with the caller's rollback, all that it had encrypted would be lost.
   *
   * @param heldByCaller - the caller's connection. Must not be written through: it lets an implementation
   * that cannot get a second connection refuse instead of waiting forever.
   * @param confirm - as for {@link KeyStore.apply}.
   * @returns false, with nothing inserted, if there is an active key of that name and purpose, or `confirm`
   * returned false.
   */
  insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean>;

  /**
   * Makes all these changes, in this order, in one transaction of its own, or none of them.
   *
   * @param confirm - called within the transaction, after the changes and with its connection; returns
   * whether they may stay.
   * @returns false, with nothing changed, if a row was no longer as expected, a record's id or version was
   * taken, a name would have had two active keys, or `confirm` returned false.
   */
  apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean>;

  /**
   * Adds to the use count of a key in any state; does nothing for one that is gone. Tries once, and never
   * within a transaction of the application.
   */
  addUses(id: string, uses: number): Promise<void>;
}
