import type { KeyPurpose, KeyRecord } from '../record/key-record';
import type { StateChange } from '../record/key-macs';

/** What a change of a key record may set; the rest is fixed for life, or counted ({@link KeyStore.addUses}). */
export type MutableKeyFields = Omit<
  KeyRecord,
  'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt' | 'useCount'
>;

/** What an update writes. What the state MAC covers comes with its new MAC, or not at all. */
export type KeyUpdate = Partial<Omit<MutableKeyFields, keyof StateChange>> &
  (StateChange | { readonly [F in keyof StateChange]?: never });

/** One step of {@link KeyStore.apply}. */
export type KeyChange = {
  /** Set where somebody has vouched for a key that proves nothing by itself. For the audit log. */
  readonly adopted?: boolean;
} & (
  | {
      readonly type: 'insert';
      readonly record: KeyRecord;
      /** Id of the backup that the key comes back from. */
      readonly restoredFrom?: string;
    }
  | {
      /**
       * Takes place only if the row still has the state, the epoch and the wrapped key of `expected`. Where
       * there are copies of it, all of them are taken out of use, and none is put into use.
       */
      readonly type: 'update';
      readonly expected: KeyRecord;
      readonly set: KeyUpdate;
      /** Why the row is taken for the newest, though it is not the newest that was seen. */
      readonly acceptedFor?: string;
      /** `false` where the row was found not to prove that this library wrote it. For the audit log. */
      readonly isProven?: boolean;
    }
);

/**
 * The port to the key table.
 *
 * Records come back exactly as they were given: the same bytes, and dates to the second. What fails
 * in the database is thrown as the database threw it; transient conflicts (serialization failures,
 * deadlocks, a busy file) are retried by the implementation.
 *
 * @typeParam C - the caller's connection, opaque to the keys. Reads go through it when it is given,
 * so that a caller inside a transaction never waits for a second connection from the same pool.
 */
export interface KeyStore<C = unknown> {
  /** False while the table does not exist. */
  exists(connection?: C): Promise<boolean>;

  /**
   * The active keys among `names`, and the pre-active ones that are to follow them. Of index roots all
   * that are not destroyed: a token does not say which root it comes from.
   */
  findCurrent(purpose: KeyPurpose, names: readonly string[], connection?: C): Promise<KeyRecord[]>;

  /** The keys with these ids, in any state and order; unknown ids are left out. May be asked for thousands. */
  findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]>;

  /**
   * Ids of keys of which there are values in columns that name this key, as far as a look at a bounded
   * number of rows shows; empty where there are none, or only cleartext.
   */
  keysOfStoredValues(name: string, connection?: C): Promise<string[]>;

  /**
   * The time by the clock of the database, which is the same for all processes: what a host's own
   * clock says must not decide when a key may be used or erased.
   */
  now(connection?: C): Promise<Date>;

  /**
   * Milliseconds by which what is read through a connection may be old: the age of its transaction
   * where that sees the database as it was at its beginning, 0 elsewhere.
   */
  snapshotAge(connection: C): Promise<number>;

  /** Every key of every purpose and state. */
  list(connection?: C): Promise<KeyRecord[]>;

  /** Ids that several rows have, which the others take for one: none, as long as the table has its primary key. */
  duplicates(connection?: C): Promise<string[]>;

  /**
   * Refuses where {@link KeyStore.insertFirst} could only refuse, before a key is made in vain.
   *
   * @throws {@link KeyStateError}, retryable, for a connection in a transaction
   */
  requireInsertable(key: Pick<KeyRecord, 'purpose' | 'name'>, heldByCaller?: C): void;

  /**
   * Inserts an active key, durable before the promise resolves, in a transaction of its own: a key
   * that vanished with the caller's rollback would take with it all that it had encrypted.
   *
   * @param heldByCaller - the connection the caller waits on. Not to be written through; it is here
   * so that an implementation that cannot get a second connection can refuse instead of waiting forever.
   * @param confirm - as for {@link KeyStore.apply}.
   * @returns false, with nothing inserted, when there is an active key of that name and purpose, or
   * `confirm` said no.
   */
  insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean>;

  /**
   * Takes all these steps, in this order, in one transaction of its own, or none of them.
   *
   * @param confirm - asked within the transaction, after the steps and on its connection, whether
   * they may stay.
   * @returns false, with nothing changed, when a row was no longer as expected, a record's id or
   * version was taken, a name would have had two active keys, or `confirm` said no.
   */
  apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean>;

  /**
   * Adds to the use count of a key, whatever its state; nothing for one that is gone. Tried once, and
   * never within a transaction of the application.
   */
  addUses(id: string, uses: number): Promise<void>;
}
