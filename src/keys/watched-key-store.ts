import type { KeyEpochs } from './key-epochs';
import type { KeyPurpose, KeyRecord } from './key-record';
import type { KeyChange, KeyStore } from './key-store';

/** A key table of which every row that is read or written is remembered. */
export class WatchedKeyStore<C> implements KeyStore<C> {
  readonly #store: KeyStore<C>;
  readonly #epochs: KeyEpochs;
  readonly #onCommit: (connection: C | undefined) => Promise<void>;

  /** @param onCommit - awaited after each change, on the connection that the caller holds; must not throw. */
  constructor(
    store: KeyStore<C>,
    epochs: KeyEpochs,
    onCommit: (connection: C | undefined) => Promise<void>,
  ) {
    this.#store = store;
    this.#epochs = epochs;
    this.#onCommit = onCommit;
  }

  exists(connection?: C): Promise<boolean> {
    return this.#store.exists(connection);
  }

  findCurrent(purpose: KeyPurpose, names: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.#observed(() => this.#store.findCurrent(purpose, names, connection));
  }

  findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.#observed(() => this.#store.findByIds(ids, connection));
  }

  list(connection?: C): Promise<KeyRecord[]> {
    return this.#observed(() => this.#store.list(connection));
  }

  keysOfStoredValues(name: string, connection?: C): Promise<string[]> {
    return this.#store.keysOfStoredValues(name, connection);
  }

  async insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const inserted = await this.#store.insertFirst(record, heldByCaller, confirm);
    return this.#committed(inserted, [{ type: 'insert', record }], heldByCaller);
  }

  async apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    return this.#committed(await this.#store.apply(changes, confirm), changes, undefined);
  }

  addUses(id: string, uses: number): Promise<void> {
    return this.#store.addUses(id, uses);
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
