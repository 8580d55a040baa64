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
  if (kind.type !== 'postgres') {
    it('has nothing to do: the database has no such settings', () => {
      expect(kind.dialect).not.toBe('postgres');
    });
    return;
  }

  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Item], synchronize: true });
    await (await open()).destroy();
  });
  afterEach(() => cleanup.run());

  /** @param setting - of the server, for every connection. */
  async function open(setting = 'application_name=test'): Promise<DataSource> {
    const extra = { options: `-c ${setting}` };
    const dataSource = cleanup.add(protect(database, {}, { extra } as never));
    await dataSource.initialize();
    await fieldEncryption(dataSource).ready();
    return dataSource;
  }

  async function versions(dataSource: DataSource): Promise<string[]> {
    const keys = await fieldEncryption(dataSource).keys.list();
    return keys.map(({ version, state }) => `v${String(version)} ${state}`);
  }

  it('are rotated by many at once although transactions fail to serialize', async () => {
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
    const dataSource = await open('statement_timeout=300');
    const holder = (await open()).createQueryRunner();
    await holder.startTransaction();
    await holder.query('SELECT id FROM data_keys FOR UPDATE');

    const error = await rejection(fieldEncryption(dataSource).keys.rotate());
    expect(error).toBeInstanceOf(QueryFailedError);
    expect(error).toMatchObject({ driverError: { code: '57014' } });
    await holder.rollbackTransaction();
    await holder.release();
    expect(await versions(dataSource)).toEqual(['v1 active']);
    expect((await fieldEncryption(dataSource).keys.rotate()).version).toBe(2);
  });

  it('do not hide why a transaction is of no use any more', async () => {
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
