import { DelegatingKeyStore } from './delegating-key-store';
import type { KeyEpochs } from './key-epochs';
import type { KeyPurpose, KeyRecord } from './key-record';
import type { KeyChange, KeyStore } from './key-store';

/** A key table of which every row that is read or written is remembered. */
export class WatchedKeyStore<C> extends DelegatingKeyStore<C> {
  readonly #epochs: KeyEpochs;
  readonly #onCommit: (connection: C | undefined) => Promise<void>;

  /** @param onCommit - awaited after each change, on the connection that the caller holds; must not throw. */
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
