import type { KeyAudit } from './key-audit';
import type { KeyPurpose, KeyRecord } from './key-record';
import type { KeyChange, KeyStore } from './key-store';

/** A key table whose every change is recorded in the audit log, in the same transaction. */
export class AuditedKeyStore<C> implements KeyStore<C> {
  readonly #store: KeyStore<C>;
  readonly #audit: KeyAudit<C>;

  constructor(store: KeyStore<C>, audit: KeyAudit<C>) {
    this.#store = store;
    this.#audit = audit;
  }

  exists(connection?: C): Promise<boolean> {
    return this.#store.exists(connection);
  }

  findCurrent(purpose: KeyPurpose, names: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.#store.findCurrent(purpose, names, connection);
  }

  findByIds(ids: readonly string[], connection?: C): Promise<KeyRecord[]> {
    return this.#store.findByIds(ids, connection);
  }

  list(connection?: C): Promise<KeyRecord[]> {
    return this.#store.list(connection);
  }

  /** Counting is no change of a key. */
  addUses(id: string, uses: number): Promise<void> {
    return this.#store.addUses(id, uses);
  }

  requireInsertable(name: string, heldByCaller?: C): void {
    this.#store.requireInsertable(name, heldByCaller);
  }

  async insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const recordChange = await this.#audit.recorder([{ type: 'insert', record }], heldByCaller);
    return this.#store.insertFirst(record, heldByCaller, recorded(recordChange, confirm));
  }

  async apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const recordChanges = await this.#audit.recorder(changes);
    return this.#store.apply(changes, recorded(recordChanges, confirm));
  }
}

/** The log comes last: other processes wait for its lock to the end of the transaction. */
function recorded<C>(
  record: (connection: C) => Promise<void>,
  confirm: (connection: C) => Promise<boolean> = () => Promise.resolve(true),
): (connection: C) => Promise<boolean> {
  return async (connection) => {
    if (!(await confirm(connection))) return false;
    await record(connection);
    return true;
  };
}
