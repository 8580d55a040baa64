import type { KeyRecord } from '../record/key-record';
import { DelegatingKeyStore } from '../store/delegating-key-store';
import type { KeyChange, KeyStore } from '../store/key-store';

import type { KeyAudit } from './key-audit';

/** A key table that records every change but use counts in the audit log, in the same transaction. */
export class AuditedKeyStore<C> extends DelegatingKeyStore<C> {
  readonly #audit: KeyAudit<C>;

  constructor(store: KeyStore<C>, audit: KeyAudit<C>) {
    super(store);
    this.#audit = audit;
  }

  override async insertFirst(
    record: KeyRecord,
    heldByCaller?: C,
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const recordChange = await this.#audit.recorder([{ type: 'insert', record }], heldByCaller);
    return this.store.insertFirst(record, heldByCaller, recorded(recordChange, confirm));
  }

  override async apply(
    changes: readonly KeyChange[],
    confirm?: (connection: C) => Promise<boolean>,
  ): Promise<boolean> {
    const recordChanges = await this.#audit.recorder(changes);
    return this.store.apply(changes, recorded(recordChanges, confirm));
  }
}

/** Records last: other processes wait for the lock of the log to the end of the transaction. */
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
