import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, withFieldEncryption } from '../../src';
import { describeDiagonal } from '../support/databases';
import { temporaryKms } from '../support/encrypted-database';
import { storedPlaintexts } from '../support/stored-rows';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted() @BlindIndex({ bits: 6 }) ssn!: string;
  @Column({ default: 'primary' }) readFrom!: string;
}

const ADA = { email: 'canary.ada@x.org', ssn: 'canary 1' };

describeDiagonal('A DataSource with a read replica', (database) => {
  if (database.dialect === 'sqlite') {
    it('has nothing to do: the database has none', () => {
      expect(database.type).toMatch(/sqlite/);
    });
    return;
  }

  /**
   * A primary, and a replica that lags: it has the tables and the rows of patients, under an older
   * key, but not a row of the key table.
   */
  async function replicated(work: (dataSource: DataSource) => Promise<void>): Promise<void> {
    const { kms, dispose } = temporaryKms();
    const common = { entities: [Patient], synchronize: true };
    const databases = [await database.create(common), await database.create(common)] as const;
    const [primary, replica] = databases.map(({ dataSourceOptions }) => dataSourceOptions);
    const { url: primaryUrl } = primary as { url: string };
    const { url: replicaUrl } = replica as { url: string };
    try {
      await fillPrimary(withFieldEncryption(new DataSource(primary!), { kms }), replica!);
      const dataSource = withFieldEncryption(
        new DataSource({
          type: database.type as 'postgres',
          entities: [Patient],
          poolSize: 1,
          replication: { master: { url: primaryUrl }, slaves: [{ url: replicaUrl }] },
        }),
        { kms },
      );
      await dataSource.initialize();
      try {
        await work(dataSource);
      } finally {
        await dataSource.destroy();
      }
    } finally {
      for (const each of databases) await each.dispose();
      dispose();
    }
  }

  async function fillPrimary(primary: DataSource, replica: DataSourceOptions): Promise<void> {
    await primary.initialize();
    await primary.getRepository(Patient).save({ ...ADA });
    await copyPatients(primary, replica);
    await fieldEncryption(primary).keys.rotate();
    await primary.destroy();
  }

  /** With a KMS that is away, synchronize makes the tables and no key. */
  async function copyPatients(primary: DataSource, options: DataSourceOptions): Promise<void> {
    const away = () => Promise.reject(new Error('away'));
    const kms = { name: 'away', wrapKey: away, unwrapKey: away, health: away };
    const replica = await withFieldEncryption(new DataSource(options), { kms }).initialize();
    for (const row of await primary.query('SELECT * FROM patient')) {
      await replica.query(
        sqlOf(
          database,
          'INSERT INTO patient (email, email_bidx, ssn, ssn_bidx, "readFrom") VALUES ($1, $2, $3, $4, $5)',
        ),
        [row.email, row.email_bidx, row.ssn, row.ssn_bidx, 'replica'],
      );
    }
    expect(await replica.query('SELECT * FROM data_keys')).toEqual([]);
    await replica.destroy();
  }

  it.each([
    ['find', (dataSource: DataSource) => dataSource.getRepository(Patient).find()],
    [
      'a lookup',
      (dataSource: DataSource) => dataSource.getRepository(Patient).findBy({ email: ADA.email }),
    ],
    [
      'a lookup through a truncated index',
      (dataSource: DataSource) => dataSource.getRepository(Patient).findBy({ ssn: ADA.ssn }),
    ],
    [
      'a query builder',
      (dataSource: DataSource) => dataSource.createQueryBuilder(Patient, 'p').getMany(),
    ],
    [
      'a query runner of the replica',
      async (dataSource: DataSource) => {
        const runner = dataSource.createQueryRunner('slave');
        const rows = await runner.manager.find(Patient);
        await runner.release();
        return rows;
      },
    ],
  ])('reads rows from the replica and keys from the primary by %s', async (_title, read) => {
    await replicated(async (dataSource) => {
      expect(await read(dataSource)).toMatchObject([{ ...ADA, readFrom: 'replica' }]);
    });
  });

  it('writes to the primary, and reads keys and rows there in a transaction', async () => {
    await replicated(async (dataSource) => {
      await dataSource.transaction(async (manager) => {
        expect(await manager.find(Patient)).toMatchObject([{ ...ADA, readFrom: 'primary' }]);
        await manager.update(Patient, { ssn: ADA.ssn }, { ssn: 'canary 2' });
        await manager.save(Patient, { email: 'canary.bob@x.org', ssn: 'canary 3' });
      });
      expect(await dataSource.getRepository(Patient).find()).toMatchObject([ADA]);
      const runner = dataSource.createQueryRunner('master');
      expect(await runner.manager.find(Patient, { order: { id: 'ASC' } })).toMatchObject([
        { email: ADA.email, ssn: 'canary 2' },
        { email: 'canary.bob@x.org', ssn: 'canary 3' },
      ]);
      await runner.release();
    });
  });

  it('rotates, reports and re-encrypts on the primary', async () => {
    await replicated(async (dataSource) => {
      const handle = fieldEncryption(dataSource);
      expect((await handle.keys.list()).map(({ version }) => version)).toEqual([1, 2]);
      await handle.keys.rotate();
      expect(await handle.reencrypt()).toMatchObject({ changed: 1, failed: 0 });
      const [email] = await handle.status();
      expect(email!.keys).toMatchObject([{ version: 3, rows: 1 }]);
      // `query` reads the primary.
      expect(await storedPlaintexts(dataSource, Patient)).toEqual([ADA]);
    });
  });
});
