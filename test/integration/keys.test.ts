import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, KeyStateError, KmsUnavailableError } from '../../src';
import type { KeyBinding, KeyInfo, KmsProvider, WrappedKey } from '../../src';
import { TypeormKeyStore } from '../../src/typeorm/tables/typeorm-key-store';
import { keyStoreContract } from '../contract/key-store.contract';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';

const NOTHING_STORED = {
  hasTokens: () => Promise.resolve(false),
  keysOf: () => Promise.resolve([]),
};

@Entity()
class Item {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

@Entity()
class Plain {
  @PrimaryColumn() id!: number;
  @Column() text!: string;
}

describeDiagonal('The key store', (kind) => {
  keyStoreContract(async () => {
    const cleanup = new Cleanup();
    const created = await cleanup.create(kind, { entities: [], synchronize: true });
    // better-sqlite3 waits for a lock with the thread on which the other store would release it.
    const database = { dataSourceOptions: { ...created.dataSourceOptions, timeout: 50 } } as never;
    const dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    const second = cleanup.add(protect(database, {}, { synchronize: false }));
    await second.initialize();
    return {
      store: new TypeormKeyStore(dataSource, NOTHING_STORED),
      other: new TypeormKeyStore(second, NOTHING_STORED),
      dropTable: async () => {
        await dataSource.query('DROP TABLE data_keys');
      },
      close: () => cleanup.run(),
    };
  });
});

describeDiagonal('Keys of an application', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    dataSource = cleanup.add(protect(database));
  });
  afterEach(() => cleanup.run());

  const dataKeys = (): Promise<KeyInfo[]> => fieldEncryption(dataSource).keys.list();

  it('shows a rotation to another process within the ttl', async () => {
    await dataSource.initialize();
    const other = cleanup.add(
      protect(database, { keyCache: { ttlMs: 100, maxAgeMs: 60_000 } }, { synchronize: false }),
    );
    await other.initialize();
    await other.getRepository(Item).insert({ id: 1, text: 'before' });
    const rotated = await fieldEncryption(dataSource).keys.rotate();
    await dataSource.getRepository(Item).insert({ id: 2, text: 'elsewhere' });
    // What the new key encrypted can be read at once, whatever the ttl.
    expect(await other.getRepository(Item).findOneBy({ id: 2 })).toEqual({
      id: 2,
      text: 'elsewhere',
    });
    await sleep(150);
    await other.getRepository(Item).insert({ id: 3, text: 'starts the refresh' });
    await sleep(300);
    await other.getRepository(Item).insert({ id: 4, text: 'after' });
    const [row] = await other.query<{ text: string }[]>('SELECT text FROM item WHERE id = 4');
    expect(Buffer.from(row!.text, 'base64url').subarray(1, 9).toString('hex')).toBe(rotated.id);
  });

  if (kind.dialect === 'sqlite') {
    it('says that a rotation has to wait while a transaction is open on the one connection', async () => {
      await dataSource.initialize();
      await fieldEncryption(dataSource).ready();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await runner.manager.insert(Item, { id: 1, text: 'in it' });
      const rotating = rejection(fieldEncryption(dataSource).keys.rotate());
      const error = await rotating;
      expect(error).toBeInstanceOf(KeyStateError);
      expect(error).toMatchObject({ retryable: true });
      await runner.rollbackTransaction();
      await runner.release();
      expect(await dataKeys()).toHaveLength(1);
      expect((await fieldEncryption(dataSource).keys.rotate()).version).toBe(2);
      expect(await dataSource.getRepository(Item).count()).toBe(0);
    }, 30_000);

    it('rotates once the transaction that was open has ended', async () => {
      await dataSource.initialize();
      await fieldEncryption(dataSource).ready();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await runner.manager.insert(Item, { id: 1, text: 'in it' });
      const rotating = fieldEncryption(dataSource).keys.rotate();
      await sleep(60);
      await runner.commitTransaction();
      await runner.release();
      expect((await rotating).version).toBe(2);
      expect(await dataSource.getRepository(Item).find()).toEqual([{ id: 1, text: 'in it' }]);
    }, 30_000);
  }
});

/** Injects faults: passes everything on to a real provider, or fails. */
class FaultInjectingKms implements KmsProvider {
  readonly name: string;
  fault: Error | undefined;
  calls = 0;
  readonly #inner: KmsProvider;

  constructor(inner: KmsProvider) {
    this.#inner = inner;
    this.name = inner.name;
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    this.#turn();
    return this.#inner.wrapKey(key, binding);
  }

  async unwrapKey(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    this.#turn();
    return this.#inner.unwrapKey(wrapped, binding);
  }

  async health() {
    return this.#inner.health();
  }

  #turn(): void {
    this.calls += 1;
    if (this.fault !== undefined) throw this.fault;
  }
}

describeDiagonal('A KMS that fails', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('is not noticed within the maximum age, then refuses by a retryable error, then recovers', async () => {
    const database = await cleanup.create(kind, { entities: [Item, Plain], synchronize: true });
    const kms = new FaultInjectingKms(keyFileKms());
    const dataSource = cleanup.add(
      protect(database, { kms, keyCache: { ttlMs: 100, maxAgeMs: 1500 } }),
    );
    await dataSource.initialize();
    const items = dataSource.getRepository(Item);
    const plain = dataSource.getRepository(Plain);
    await items.insert({ id: 1, text: 'one' });

    kms.fault = new Error('connect ECONNREFUSED 10.0.0.1:443');
    await sleep(300);
    await items.insert({ id: 2, text: 'two' });
    expect(await items.count()).toBe(2);
    expect(await items.findOneBy({ id: 1 })).toEqual({ id: 1, text: 'one' });

    await sleep(1700);
    for (const work of [
      () => items.find(),
      () => items.insert({ id: 3, text: 'three' }),
      () => items.save({ id: 1, text: 'changed' }),
      () => fieldEncryption(dataSource).ready(),
    ]) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(KmsUnavailableError);
      expect(error).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
    }
    expect(await items.count()).toBe(2);
    await plain.save({ id: 1, text: 'open' });
    expect(await plain.find()).toHaveLength(1);

    kms.fault = undefined;
    // A failure is remembered for a moment, save by who asks for it.
    await fieldEncryption(dataSource).ready();
    await items.insert({ id: 3, text: 'three' });
    expect(await items.find({ order: { id: 'ASC' } })).toEqual([
      { id: 1, text: 'one' },
      { id: 2, text: 'two' },
      { id: 3, text: 'three' },
    ]);
  });

  it('is asked once for many parallel reads and writes', async () => {
    const database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    const first = cleanup.add(protect(database));
    await first.initialize();
    await first.getRepository(Item).insert({ id: 1, text: 'one' });
    const kms = new FaultInjectingKms(keyFileKms());
    const second = cleanup.add(protect(database, { kms }, { synchronize: false }));
    await second.initialize();
    const after = kms.calls;
    await Promise.all(Array.from({ length: 50 }, () => second.getRepository(Item).find()));
    expect(kms.calls).toBe(after);
    expect(after).toBe(1);
  });
});
