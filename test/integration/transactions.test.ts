import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { EntityManager, Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';

@Entity()
class Account {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) iban!: string;
  @Encrypted({ nullable: true, type: 'number' }) limit!: number | null;
}

@Entity()
class PlainAccount {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ unique: true }) iban!: string;
}

class Abandoned extends Error {}

const CANARY = { iban: 'canary DE02', limit: 1000 };

describeEachDatabase('A transaction', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Account] });
  const accounts = (): Repository<Account> => opened.dataSource.getRepository(Account);
  const plaintexts = () => storedPlaintexts(opened.dataSource, Account);

  async function abandoned(work: (manager: EntityManager) => Promise<unknown>): Promise<void> {
    const transaction = opened.dataSource.transaction(async (manager) => {
      await work(manager);
      throw new Abandoned();
    });
    await expect(transaction).rejects.toBeInstanceOf(Abandoned);
  }

  it('reads its own writes and commits ciphertext', async () => {
    await opened.dataSource.transaction(async (manager) => {
      const account = await manager.save(manager.create(Account, CANARY));
      expect(await manager.findOneBy(Account, { iban: CANARY.iban })).toMatchObject(CANARY);
      account.limit = 5;
      await manager.getRepository(Account).save(account);
      await manager.update(Account, { iban: CANARY.iban }, { limit: 6 });
    });
    expect(await plaintexts()).toEqual([{ ...CANARY, limit: 6 }]);
  });

  it('that rolls back leaves plaintext in the entities, which can be saved again', async () => {
    const account = accounts().create(CANARY);
    const inserted = { iban: 'canary DE03', limit: null };
    await abandoned(async (manager) => {
      await manager.save(account);
      await manager.insert(Account, inserted);
      expect(account).toMatchObject(CANARY);
    });
    expect(account).toMatchObject(CANARY);
    expect(inserted).toMatchObject({ iban: 'canary DE03', limit: null });
    expect(await plaintexts()).toEqual([]);
    await accounts().save(accounts().create({ iban: account.iban, limit: account.limit }));
    expect(await plaintexts()).toEqual([CANARY]);
  });

  it('that rolls back an update leaves plaintext in the entity and the old row', async () => {
    const account = await accounts().save(accounts().create(CANARY));
    await abandoned(async (manager) => manager.save(Object.assign(account, { limit: 7 })));
    expect(account).toMatchObject({ ...CANARY, limit: 7 });
    expect(await plaintexts()).toEqual([CANARY]);
    await accounts().save(account);
    expect(await plaintexts()).toEqual([{ ...CANARY, limit: 7 }]);
  });

  it('nested in another rolls back alone', async () => {
    const inner = { iban: 'canary DE04', limit: 2 };
    await opened.dataSource.transaction(async (outer) => {
      await outer.save(Account, { ...CANARY });
      const nested = outer.transaction(async (manager) => {
        await manager.save(Account, inner);
        throw new Abandoned();
      });
      await expect(nested).rejects.toBeInstanceOf(Abandoned);
      expect(inner).toMatchObject({ iban: 'canary DE04', limit: 2 });
      expect(await outer.countBy(Account, { iban: 'canary DE04' })).toBe(0);
    });
    expect(await plaintexts()).toEqual([CANARY]);
  });

  it('nested in another commits with it and rolls back with it', async () => {
    const nested = async (outer: EntityManager) => {
      await outer.save(Account, { ...CANARY });
      await outer.transaction((manager) =>
        manager.save(Account, { iban: 'canary DE05', limit: 3 }),
      );
    };
    await abandoned(nested);
    expect(await plaintexts()).toEqual([]);
    await opened.dataSource.transaction(nested);
    expect(await plaintexts()).toEqual([CANARY, { iban: 'canary DE05', limit: 3 }]);
  });

  it('of a query runner commits, rolls back and uses save with { transaction: false }', async () => {
    const runner = opened.dataSource.createQueryRunner();
    await runner.startTransaction();
    const account = await runner.manager.save(Account, { ...CANARY }, { transaction: false });
    await runner.rollbackTransaction();
    expect(account).toMatchObject(CANARY);
    expect(await rawRows(opened.dataSource, Account)).toEqual([]);
    await runner.startTransaction();
    await runner.manager.save(Account, { ...CANARY }, { transaction: false, listeners: false });
    await runner.commitTransaction();
    await runner.release();
    expect(await plaintexts()).toEqual([CANARY]);
  });

  it('that a failed statement has aborted leaves plaintext and can be run again', async () => {
    await accounts().save({ ...CANARY });
    const account = accounts().create({ iban: CANARY.iban, limit: 9 });
    const run = () =>
      opened.dataSource.transaction(async (manager) => {
        await manager.save(account);
      });
    await expect(run()).rejects.toThrow();
    expect(account).toMatchObject({ iban: CANARY.iban, limit: 9 });
    account.iban = 'canary DE06';
    await run();
    expect(await plaintexts()).toEqual([CANARY, { iban: 'canary DE06', limit: 9 }]);
  });
});

describeEachDatabase('The first write after the tables were made', (database) => {
  it.each([
    ['save', (dataSource: DataSource) => dataSource.getRepository(Account).save({ ...CANARY })],
    ['insert', (dataSource: DataSource) => dataSource.getRepository(Account).insert({ ...CANARY })],
  ])('by %s makes the keys', async (_title, write) => {
    const opened = await openEncrypted(database, {
      entities: [Account],
      synchronize: false,
      poolSize: 1,
    });
    try {
      await opened.dataSource.synchronize();
      await write(opened.dataSource);
      expect(await storedPlaintexts(opened.dataSource, Account)).toEqual([CANARY]);
    } finally {
      await opened.dispose();
    }
  });
});

describeEachDatabase('A pool of one connection', (database) => {
  const PARALLEL = 20;

  /** Reads and writes as one transaction of many does. */
  async function transfer(manager: EntityManager, i: number): Promise<void> {
    const accounts = manager.getRepository(Account);
    await accounts.save({ iban: `canary ${i}`, limit: i });
    const account = await accounts.findOneByOrFail({ iban: `canary ${i}` });
    await accounts.update({ iban: `canary ${i}` }, { limit: i + 1 });
    await accounts.save(Object.assign(account, { limit: i + 2 }));
  }

  async function withPoolOfOne(work: (dataSource: DataSource) => Promise<void>): Promise<void> {
    const { dataSource, dispose } = await openEncrypted(
      database,
      { entities: [Account, PlainAccount], poolSize: 1 },
      // Every key is due for a refresh at each use.
      { keyCache: { ttlMs: 1, maxAgeMs: 60_000 } },
    );
    try {
      await work(dataSource);
    } finally {
      await dispose();
    }
  }

  if (database.dialect !== 'sqlite') {
    it('serves 20 parallel transactions without a deadlock', async () => {
      await withPoolOfOne(async (dataSource) => {
        const numbers = Array.from({ length: PARALLEL }, (_, i) => i);
        await Promise.all(numbers.map((i) => dataSource.transaction((m) => transfer(m, i))));
        const stored = await storedPlaintexts(dataSource, Account);
        expect(stored.map(({ limit }) => limit).sort((a, b) => Number(a) - Number(b))).toEqual(
          numbers.map((i) => i + 2),
        );
      });
    });

    it('serves 20 parallel transactions that need the keys first', async () => {
      await withPoolOfOne(async (dataSource) => {
        await dataSource.transaction((manager) => transfer(manager, 99));
        await dataSource.destroy();
        await dataSource.initialize();
        const reads = Array.from({ length: PARALLEL }, () =>
          dataSource.transaction((manager) => manager.findBy(Account, { iban: 'canary 99' })),
        );
        for (const rows of await Promise.all(reads)) expect(rows).toMatchObject([{ limit: 101 }]);
      });
    });

    it('serves hand-written SQL in a transaction whose keys are not in memory', async () => {
      await withPoolOfOne(async (dataSource) => {
        await dataSource.getRepository(Account).insert({ ...CANARY });
        const [row] = await rawRows(dataSource, Account);
        const token = await fieldEncryption(dataSource).token(Account, 'iban', CANARY.iban);
        await dataSource.destroy();
        await dataSource.initialize();

        await dataSource.transaction(async (manager) => {
          const again = fieldEncryption(dataSource);
          const within = { manager };
          const stored = row!['iban'];
          expect(await again.decryptValue(Account, 'iban', stored, within)).toBe(CANARY.iban);
          await installationOf(dataSource).keys.close();
          expect(await again.tokens(Account, 'iban', CANARY.iban, undefined, within)).toEqual([
            token,
          ]);
          await installationOf(dataSource).keys.close();
          await again.encryptValue(Account, 'limit', 5, within);
        });
      });
    });
  } else {
    it('cannot serve parallel transactions in TypeORM itself, even of a plain entity', async () => {
      await withPoolOfOne(async (dataSource) => {
        const plain = Array.from({ length: PARALLEL }, (_, i) =>
          dataSource.transaction(async (manager) => {
            await manager.save(PlainAccount, { iban: String(i) });
            if (i % 2 === 1) throw new Abandoned();
          }),
        );
        await Promise.allSettled(plain);
        // All of them share one connection, so what one rolls back and another commits is not theirs alone.
        expect(await dataSource.getRepository(PlainAccount).count()).not.toBe(PARALLEL / 2);
      });
    });

    it('serves 20 transactions that queue up for it', async () => {
      await withPoolOfOne(async (dataSource) => {
        let queue: Promise<unknown> = Promise.resolve();
        const numbers = Array.from({ length: PARALLEL }, (_, i) => i);
        for (const i of numbers) {
          queue = queue.then(() => dataSource.transaction((manager) => transfer(manager, i)));
        }
        await queue;
        const stored = await storedPlaintexts(dataSource, Account);
        expect(stored.map(({ limit }) => limit)).toEqual(numbers.map((i) => i + 2));
      });
    });
  }

  it('serves 20 parallel readers and writers without transactions', async () => {
    await withPoolOfOne(async (dataSource) => {
      const accounts = dataSource.getRepository(Account);
      const numbers = Array.from({ length: PARALLEL }, (_, i) => i);
      await Promise.all(numbers.map((i) => accounts.insert({ iban: `canary ${i}`, limit: i })));
      await Promise.all(
        numbers.map(async (i) => {
          expect(await accounts.findOneByOrFail({ iban: `canary ${i}` })).toMatchObject({
            limit: i,
          });
          await accounts.update({ iban: `canary ${i}` }, { limit: -i });
        }),
      );
      const stored = await storedPlaintexts(dataSource, Account);
      expect(stored.map(({ limit }) => -Number(limit)).sort((a, b) => a - b)).toEqual(numbers);
    });
  });
});
