import type { KeyPurpose, KeyRecord } from '../../src/keys/key-record';
import type { KeyStore } from '../../src/keys/key-store';

/** Every call a {@link MemoryKeyStore} has received, by method, with the connection it came with. */
export interface StoreCall {
  readonly method: keyof KeyStore;
  readonly connection: string | undefined;
}

/**
 * A key table in memory, for any number of managers at once. Every call yields to the event loop
 * first, as a database does, so that concurrent callers really interleave; each then runs as one
 * step, as a transaction does.
 */
export class MemoryKeyStore implements KeyStore<string> {
  readonly calls: StoreCall[] = [];
  /** Thrown by every call while set: the database is down. */
  outage: Error | undefined;
  hasTable = true;
  #rows: KeyRecord[] = [];

  /** The rows as they are; what a test or an intruder changes in the database. */
  get rows(): readonly KeyRecord[] {
    return this.#rows;
  }

  edit(id: string, changes: Partial<KeyRecord>): void {
    this.#rows = this.#rows.map((row) => (row.id === id ? { ...row, ...changes } : row));
  }

  remove(id: string): void {
    this.#rows = this.#rows.filter((row) => row.id !== id);
  }

  insertRow(record: KeyRecord): void {
    this.#rows.push(copy(record));
  }

  countOf(method: keyof KeyStore): number {
    return this.calls.filter((call) => call.method === method).length;
  }

  async exists(connection?: string): Promise<boolean> {
    await this.#receive('exists', connection);
    return this.hasTable;
  }

  async findActive(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: string,
  ): Promise<KeyRecord[]> {
    await this.#receive('findActive', connection);
    return this.#active(purpose)
      .filter((row) => names.includes(row.name))
      .map(copy);
  }

  async findByIds(ids: readonly string[], connection?: string): Promise<KeyRecord[]> {
    await this.#receive('findByIds', connection);
    const wanted = new Set(ids);
    return this.#rows.filter((row) => wanted.has(row.id)).map(copy);
  }

  async list(connection?: string): Promise<KeyRecord[]> {
    await this.#receive('list', connection);
    return this.#rows.map(copy);
  }

  async insertFirst(record: KeyRecord): Promise<boolean> {
    await this.#receive('insertFirst');
    if (this.#active(record.purpose).some((row) => row.name === record.name)) return false;
    this.#insert(record);
    return true;
  }

  async replaceActive(expectedActiveId: string, next: KeyRecord): Promise<boolean> {
    await this.#receive('replaceActive');
    if (!this.#rows.some((row) => row.id === expectedActiveId && row.state === 'active')) {
      return false;
    }
    this.edit(expectedActiveId, { state: 'deactivated', deactivatedAt: next.activatedAt });
    this.#insert(next);
    return true;
  }

  #active(purpose: KeyPurpose): KeyRecord[] {
    return this.#rows.filter((row) => row.purpose === purpose && row.state === 'active');
  }

  #insert(record: KeyRecord): void {
    const taken = this.#rows.some(
      (row) =>
        row.id === record.id ||
        (row.purpose === record.purpose &&
          row.name === record.name &&
          row.version === record.version),
    );
    if (taken) throw new Error('unique constraint failed');
    this.#rows.push(copy(record));
  }

  async #receive(method: keyof KeyStore, connection?: string): Promise<void> {
    this.calls.push({ method, connection });
    await new Promise((resolve) => setImmediate(resolve));
    if (this.outage !== undefined) throw this.outage;
    if (!this.hasTable && method !== 'exists') throw new Error('no such table: data_keys');
  }
}

function copy(record: KeyRecord): KeyRecord {
  return {
    ...record,
    wrapped: Uint8Array.from(record.wrapped),
    recordMac: Uint8Array.from(record.recordMac),
    createdAt: new Date(record.createdAt),
    activatedAt: record.activatedAt && new Date(record.activatedAt),
    deactivatedAt: record.deactivatedAt && new Date(record.deactivatedAt),
  };
}
