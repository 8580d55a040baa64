import { setTimeout as sleep } from 'node:timers/promises';
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import {
  Encrypted,
  fieldEncryption,
  FieldEncryptionError,
  fieldEncryptionMigrations,
} from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import { heldBefore } from '../support/held-statement';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect } from '../support/protected-database';
import { storedPlaintexts } from '../support/stored-rows';

@Entity()
class Letter {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() text!: string;
  @Column({ default: '' }) stamp!: string;
}

describeDiagonal('The first keys', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open(options: object): Promise<DataSource> {
    const created = await cleanup.create(database, { entities: [Letter], ...options });
    return cleanup.add(await protect(created).initialize());
  }

  const activeKeys = async (dataSource: DataSource): Promise<number> =>
    (await fieldEncryption(dataSource).keys.list()).filter(({ state }) => state === 'active')
      .length;

  it('come with initialize() where the tables are there', async () => {
    const dataSource = await open({ synchronize: true });
    expect(await activeKeys(dataSource)).toBe(1);
  });

  it('come with synchronize() after initialize(), before the first save opens a transaction', async () => {
    const dataSource = await open({});
    await dataSource.synchronize();
    await dataSource.getRepository(Letter).save({ text: 'dear' });
    expect(await activeKeys(dataSource)).toBe(1);
  });

  it('come with runMigrations() after initialize()', async () => {
    const dataSource = await open({ migrations: fieldEncryptionMigrations });
    await dataSource.runMigrations();
    expect(await activeKeys(dataSource)).toBe(1);
  });

  it.each([
    ['synchronize()', (dataSource: DataSource) => dataSource.synchronize()],
    ['runMigrations()', (dataSource: DataSource) => dataSource.runMigrations()],
  ])('come anew with %s, when somebody has dropped the tables', async (_, makeTables) => {
    const dataSource = await open({ migrations: fieldEncryptionMigrations });
    await dataSource.synchronize();
    await dataSource.getRepository(Letter).save({ text: 'dear' });
    const runner = dataSource.createQueryRunner();
    await runner.clearDatabase();
    await runner.release();
    await makeTables(dataSource);
    await dataSource.synchronize();
    await dataSource.getRepository(Letter).save({ text: 'dear again' });

    // As the next process would read it.
    await dataSource.destroy();
    await dataSource.initialize();
    expect(await storedPlaintexts(dataSource, Letter)).toEqual([{ text: 'dear again' }]);
  });

  it('leave a key table of an earlier version to the migrations that are its remedy', async () => {
    const dataSource = await open({ migrations: fieldEncryptionMigrations.slice(0, -1) });
    await dataSource.runMigrations();
    const Last = fieldEncryptionMigrations.at(-1)!;
    dataSource.migrations.push(new Last());
    await dataSource.runMigrations();
    expect(await activeKeys(dataSource)).toBe(1);
  });

  it('are refused inside a transaction, by name and with a remedy, and can be made before it', async () => {
    const dataSource = await open({ synchronize: true });
    await dataSource.query('DELETE FROM data_keys');
    await dataSource.query('DELETE FROM field_encryption_audit');
    // As an expired cache would forget them.
    await installationOf(dataSource).keys.close();

    const save = (): Promise<unknown> =>
      dataSource.transaction((manager) => manager.getRepository(Letter).save({ text: 'dear' }));
    await expect(save()).rejects.toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    await fieldEncryption(dataSource).ready();
    await save();
    expect(await storedPlaintexts(dataSource, Letter)).toEqual([{ text: 'dear' }]);
  });

  it.each([
    ['the KMS comes back', { synchronize: true }, () => Promise.resolve()],
    [
      'somebody makes the tables',
      { migrations: fieldEncryptionMigrations },
      async (options: DataSourceOptions) => {
        const other = cleanup.add(new DataSource({ ...options, entities: [Letter] }));
        await other.initialize();
        await other.synchronize();
        await other.runMigrations();
      },
    ],
  ])(
    'come once %s, though all that writes is save() in its own transactions',
    async (_what, options, prepare) => {
      const created = await cleanup.create(database, { entities: [Letter], ...options });
      const kms = new FakeKms();
      kms.outage = new Error('away');
      const dataSource = cleanup.add(await protect(created, { kms }).initialize());
      await prepare(created.dataSourceOptions);
      const letters = dataSource.getRepository(Letter);
      const letter = letters.create({ text: 'dear' });
      await expect(letters.save(letter)).rejects.toMatchObject({ retryable: true });

      kms.outage = undefined;
      await whileRetryable(() => letters.save(letter));
      expect(await storedPlaintexts(dataSource, Letter)).toEqual([{ text: 'dear' }]);
      expect(await activeKeys(dataSource)).toBe(1);
    },
  );

  it('come to a process that looked for them before another had made them, and goes on after', async () => {
    const created = await cleanup.create(database, { entities: [Letter], synchronize: true });
    const kms = new FakeKms();
    kms.outage = new Error('away');
    const late = cleanup.add(await protect(created, { kms }).initialize());
    kms.outage = undefined;
    const looking = heldBefore(late, (sql) =>
      /FROM ["`]?field_encryption_audit["`]? .*ORDER BY/s.test(sql),
    );
    const ready = fieldEncryption(late).ready();
    await looking.reached;
    const first = cleanup.add(await protect(created, { kms }).initialize());
    looking.letGo();
    await ready;

    await late.getRepository(Letter).save({ text: 'dear' });
    expect(await storedPlaintexts(first, Letter)).toEqual([{ text: 'dear' }]);
    expect(await activeKeys(first)).toBe(1);
  });

  it('are made anew when the database is dropped, and nothing is encrypted under the old ones', async () => {
    const dataSource = await open({ synchronize: true });
    const [before] = await fieldEncryption(dataSource).keys.list();
    await dataSource.synchronize(true);
    const [after] = await fieldEncryption(dataSource).keys.list();
    expect(after?.id).not.toBe(before?.id);
    await dataSource.getRepository(Letter).save({ text: 'dear' });
    const [column] = await fieldEncryption(dataSource).status();
    expect(column?.keys.map(({ keyId }) => keyId)).toEqual([after?.id]);
  });
});

/** As an application does that goes by `retryable`. */
async function whileRetryable<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || !error.retryable) throw error;
      await sleep(20);
    }
  }
}
