import type { KeyPurpose, KeyRecord } from '../record/key-record';

import type { KeyChange, KeyStore } from './key-store';

/** A key table over another one, to be extended in some of its methods. */
export abstract class DelegatingKeyStore<C> implements KeyStore<C> {
  protected readonly store: KeyStore<C>;

  constructor(store: KeyStore<C>) {
    this.store = store;
  }

  exists(connection?: C): Promise<boolean> {
    return this.store.exists(connection);
  }

  findCurrent(purpose: KeyPurpose, names: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.store.findCurrent(purpose, names, connection);
  }

  findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.store.findByIds(ids, connection);
  }

  keysOfStoredValues(name: string, connection?: C): Promise<string[]> {
    return this.store.keysOfStoredValues(name, connection);
  }

  now(connection?: C): Promise<Date> {
    return this.store.now(connection);
  }

  snapshotAge(connection: C): Promise<number> {
    return this.store.snapshotAge(connection);
  }

  list(connection?: C): Promise<KeyRecord[]> {
    return this.store.list(connection);
  }

  duplicates(connection?: C): Promise<string[]> {
    return this.store.duplicates(connection);
  }

  addUses(id: string, uses: number): Promise<void> {
    return this.store.addUses(id, uses);
  }

  requireInsertable(key: Pick<KeyRecord, 'purpose' | 'name'>, heldByCaller?: C): void {
    this.store.requireInsertable(key, heldByCaller);
  }

  insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    return this.store.insertFirst(record, heldByCaller, confirm);
  }

  apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    return this.store.apply(changes, confirm);
  }
}
