import type { KeyPurpose, KeyRecord } from '../../src/keys/record/key-record';
import { isReadable } from '../../src/keys/record/key-state';
import type { KeyChange, KeyStore } from '../../src/keys/store/key-store';

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
  /** Ids of keys that stored values are under. */
  storedUnder: string[] = [];
  /** The clock of the database. */
  time: () => number = () => Date.now();
  /** Age of the transaction that a caller's connection is in. */
  snapshotAgeMs = 0;
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

  async findCurrent(
    purpose: KeyPurpose,
    names: readonly string[],
    connection?: string,
  ): Promise<KeyRecord[]> {
    await this.#receive('findCurrent', connection);
    return this.#rows
      .filter((row) => row.purpose === purpose && names.includes(row.name))
      .filter(({ state }) =>
        purpose === 'index' ? isReadable(state) : state === 'active' || state === 'preActive',
      )
      .map(copy);
  }

  async findByIds(ids: readonly string[], connection?: string): Promise<KeyRecord[]> {
    await this.#receive('findByIds', connection);
    const wanted = new Set(ids);
    return this.#rows.filter((row) => wanted.has(row.id)).map(copy);
  }

  keysOfStoredValues(): Promise<string[]> {
    return Promise.resolve(this.storedUnder);
  }

  now(): Promise<Date> {
    return Promise.resolve(new Date(this.time()));
  }

  snapshotAge(): Promise<number> {
    return Promise.resolve(this.snapshotAgeMs);
  }

  duplicates(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async list(connection?: string): Promise<KeyRecord[]> {
    await this.#receive('list', connection);
    return this.#rows.map(copy);
  }

  requireInsertable(): void {
    // Its connections are in no transactions.
  }

  async insertFirst(
    record: KeyRecord,
    _heldByCaller?: string,
    confirm: (connection: string) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    await this.#receive('insertFirst');
    const isActive = this.#active(record.purpose).some((row) => row.name === record.name);
    if (isActive || this.#isTaken(record)) return false;
    this.#rows.push(copy(record));
    if (await confirm('transaction')) return true;
    this.remove(record.id);
    return false;
  }

  async apply(
    changes: readonly KeyChange[],
    confirm: (connection: string) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<boolean> {
    await this.#receive('apply');
    const before = this.#rows;
    this.#rows = [...before];
    if (changes.every((change) => this.#step(change)) && (await confirm('transaction')))
      return true;
    this.#rows = before;
    return false;
  }

  async addUses(id: string, uses: number): Promise<void> {
    await this.#receive('addUses');
    const row = this.#rows.find((candidate) => candidate.id === id);
    if (row !== undefined) this.edit(id, { useCount: row.useCount + uses });
  }

  #step(change: KeyChange): boolean {
    if (change.type === 'insert') {
      if (this.#isTaken(change.record)) return false;
      this.#rows.push(copy(change.record));
    } else {
      const { id, state, epoch, wrapped } = change.expected;
      const row = this.#rows.find((candidate) => candidate.id === id);
      if (row?.state !== state || row.epoch !== epoch) return false;
      if (!Buffer.from(row.wrapped).equals(wrapped)) return false;
      this.edit(id, change.set);
    }
    const active = this.#rows.filter((row) => row.state === 'active');
    return new Set(active.map((row) => `${row.purpose}:${row.name}`)).size === active.length;
  }

  #isTaken(record: KeyRecord): boolean {
    return this.#rows.some(
      (row) =>
        row.id === record.id ||
        (row.purpose === record.purpose &&
          row.name === record.name &&
          row.version === record.version),
    );
  }

  #active(purpose: KeyPurpose): KeyRecord[] {
    return this.#rows.filter((row) => row.purpose === purpose && row.state === 'active');
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
    stateMac: Uint8Array.from(record.stateMac),
    createdAt: new Date(record.createdAt),
    activatedAt: record.activatedAt && new Date(record.activatedAt),
    deactivatedAt: record.deactivatedAt && new Date(record.deactivatedAt),
    compromisedAt: record.compromisedAt && new Date(record.compromisedAt),
    destroyedAt: record.destroyedAt && new Date(record.destroyedAt),
    expiresAt: record.expiresAt && new Date(record.expiresAt),
  };
}
