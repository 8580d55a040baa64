import type { KeyPurpose, KeyRecord } from '../record/key-record';

import { DelegatingKeyStore } from './delegating-key-store';
import type { KeyEpochs } from './key-epochs';
import type { KeyChange, KeyStore } from './key-store';

/**
 * Milliseconds that a change of a key may take from its date to its last statement, and again from there
 * to its commit.
 */
export const CHANGE_MS = 15_000;

/**
 * Added to every wait that counts from a date in the key table: the date is cut to the second, and other
 * processes see the change only with its commit.
 */
export const SETTLING_MS = 1000 + 2 * CHANGE_MS;

/** The last time that a date can be. */
const LAST_MS = 8_640_000_000_000_000;

/** Returns the end of a wait. One of 0 milliseconds ends at once. */
export function endOfWait(since: Date, ms: number): Date {
  return new Date(Math.min(since.getTime() + (ms > 0 ? ms + SETTLING_MS : 0), LAST_MS));
}

/** Whether no date that a wait will count from is older than {@link CHANGE_MS}. */
function isTimely(changes: readonly KeyChange[], now: Date): boolean {
  return changes
    .flatMap((change) => countedFrom(change) ?? [])
    .every((date) => now.getTime() - date.getTime() <= CHANGE_MS + 1000);
}

function countedFrom(change: KeyChange): Date | undefined {
  if (change.type === 'insert') {
    const { state, createdAt } = change.record;
    return state === 'preActive' ? createdAt : undefined;
  }
  const { deactivatedAt }: Partial<Pick<KeyRecord, 'deactivatedAt'>> = change.set;
  const isNew = deactivatedAt?.getTime() !== change.expected.deactivatedAt?.getTime();
  return isNew ? (deactivatedAt ?? undefined) : undefined;
}

/** A key table that rolls back changes that took too long for waits to count from their dates. */
export class TimelyKeyStore<C> extends DelegatingKeyStore<C> {
  override async apply(
    changes: readonly KeyChange[],
    confirm: (connection: C) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    return this.store.apply(
      changes,
      async (connection) =>
        (await confirm(connection)) && isTimely(changes, await this.store.now(connection)),
    );
  }
}

/** A key table that remembers every row that is read or written. */
export class WatchedKeyStore<C> extends DelegatingKeyStore<C> {
  readonly #epochs: KeyEpochs;
  readonly #onCommit: (connection: C | undefined) => Promise<void>;

  /** @param onCommit - awaited after each change, with the connection that the caller holds. Must not throw. */
  constructor(
    store: KeyStore<C>,
    epochs: KeyEpochs,
    onCommit: (connection: C | undefined) => Promise<void>,
  ) {
    super(store);
    this.#epochs = epochs;
    this.#onCommit = onCommit;
  }

  override findCurrent(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: C,
  ): Promise<KeyRecord[]> {
    return this.#observed(() => this.store.findCurrent(purpose, names, connection));
  }

  override findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.#observed(() => this.store.findByIds(ids, connection));
  }

  override list(connection?: C): Promise<KeyRecord[]> {
    return this.#observed(() => this.store.list(connection));
  }

  override async insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const inserted = await this.store.insertFirst(record, heldByCaller, confirm);
    return this.#committed(inserted, [{ type: 'insert', record }], heldByCaller);
  }

  override async apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    return this.#committed(await this.store.apply(changes, confirm), changes, undefined);
  }

  async #observed(read: () => Promise<KeyRecord[]>): Promise<KeyRecord[]> {
    const askedAt = this.#epochs.now();
    const records = await read();
    this.#epochs.observe(records, askedAt);
    return records;
  }

  async #committed(
    done: boolean,
    changes: readonly KeyChange[],
    connection: C | undefined,
  ): Promise<boolean> {
    if (!done) return false;
    this.#epochs.committed(changes);
    await this.#onCommit(connection);
    return true;
  }
}
