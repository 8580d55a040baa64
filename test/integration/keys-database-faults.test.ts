import { Entity, PrimaryColumn, QueryFailedError } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';

@Entity()
class Item {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

describeDiagonal('Keys in a database that refuses', (kind) => {
  if (kind.dialect === 'sqlite') {
    it('has nothing to do: the database has no such settings', () => {
      expect(kind.type).not.toBe('postgres');
    });
    return;
  }
  const isPostgres = kind.dialect === 'postgres';
  const itOnPostgres = isPostgres ? it : it.skip;

  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    await (await open()).destroy();
  });
  afterEach(() => cleanup.run());

  /** @param setting - of the server, for every connection; MySQL gets it as `SET SESSION` has it. */
  async function open(setting?: string): Promise<DataSource> {
    const session = isPostgres && {
      extra: { options: `-c ${setting ?? 'application_name=test'}` },
    };
    const one = setting !== undefined && !isPostgres;
    const options = { ...session, ...(one && { poolSize: 1 }) };
    const dataSource = cleanup.add(protect(database, {}, options));
    await dataSource.initialize();
    if (one) await dataSource.query(`SET SESSION ${setting}`);
    await fieldEncryption(dataSource).ready();
    return dataSource;
  }

  async function versions(dataSource: DataSource): Promise<string[]> {
    const keys = await fieldEncryption(dataSource).keys.list();
    return keys.map(({ version, state }) => `v${String(version)} ${state}`);
  }

  // On MySQL the library's own transactions are READ COMMITTED, whatever the default is.
  itOnPostgres('are rotated by many at once although transactions fail to serialize', async () => {
    const setting = 'default_transaction_isolation=serializable';
    const dataSources = [await open(setting), await open(setting)];
    const rotated = await Promise.all(
      [...dataSources, ...dataSources, ...dataSources].map((dataSource) =>
        fieldEncryption(dataSource).keys.rotate(),
      ),
    );
    const highest = Math.max(...rotated.map(({ version }) => version));
    const after = await versions(dataSources[0]!);
    expect(after).toHaveLength(highest);
    expect(after.filter((version) => version.endsWith(' active'))).toEqual([
      `v${String(highest)} active`,
    ]);
  });

  it('stay as they were when a statement takes too long, and can be rotated again', async () => {
    const limit = isPostgres ? 'statement_timeout=300' : 'max_statement_time = 0.3';
    const dataSource = await open(limit);
    const holder = (await open()).createQueryRunner();
    await holder.startTransaction();
    await holder.query('SELECT id FROM data_keys FOR UPDATE');

    const error = await rejection(fieldEncryption(dataSource).keys.rotate());
    expect(error).toBeInstanceOf(QueryFailedError);
    // `mysql2` has no name for it.
    const driverError = isPostgres ? { code: '57014' } : { errno: 1969 };
    expect(error).toMatchObject({ driverError });
    await holder.rollbackTransaction();
    await holder.release();
    expect(await versions(dataSource)).toEqual(['v1 active']);
    expect((await fieldEncryption(dataSource).keys.rotate()).version).toBe(2);
  });

  // A transaction of MySQL goes on after a statement that failed.
  itOnPostgres('do not hide why a transaction is of no use any more', async () => {
    const inner = keyFileKms();
    let isAway = true;
    const dataSource = cleanup.add(
      protect(database, {
        kms: {
          name: inner.name,
          wrapKey: (key, binding) => inner.wrapKey(key, binding),
          unwrapKey: (wrapped, binding) =>
            isAway ? Promise.reject(new Error('away')) : inner.unwrapKey(wrapped, binding),
          health: () => inner.health(),
        },
      }),
    );
    await dataSource.initialize();
    isAway = false;
    // Its failure is not what this is about.
    await installationOf(dataSource).keys.close();
    const error = await rejection(
      dataSource.transaction(async (manager) => {
        await manager.query('SELECT 1 / 0').catch(() => undefined);
        await manager.insert(Item, { id: 1, text: 'canary' });
      }),
    );
    expect(error).toBeInstanceOf(QueryFailedError);
    expect(error).toMatchObject({ driverError: { code: '25P02' } });
    expect(JSON.stringify(error)).not.toContain('canary');
    await dataSource.getRepository(Item).insert({ id: 2, text: 'canary' });
    expect(await dataSource.getRepository(Item).find()).toEqual([{ id: 2, text: 'canary' }]);
  });
});
