import { DataSource, Entity, PrimaryColumn } from 'typeorm';
import { Encrypted, fieldEncryption, fieldEncryptionMigrations } from '../../src';
import type { FieldEncryptionOptions, KeyEvent } from '../../src';
import { init } from '../../src/cli/commands/init';
import type { Session } from '../../src/cli/load/session';
import { KeyWrapper } from '../../src/keys/wrapping/key-wrapper';
import { DataKeySchema } from '../../src/typeorm/tables/data-key-table';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { StatementLog } from '../support/statement-log';

@Entity()
class Card {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

describeDiagonal('The application of a key', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  afterEach(() => cleanup.run());

  async function start(
    options: Partial<FieldEncryptionOptions> = {},
    overrides = {},
  ): Promise<DataSource> {
    return cleanup.add(await protect(database, options, overrides).initialize());
  }

  it('stands in its row, and another application is refused by both names', async () => {
    database = await cleanup.create(kind, { entities: [Card], synchronize: true });
    const one = await start({ application: 'billing' });
    await one.getRepository(Card).insert({ id: 1, text: 'one' });
    expect(await one.query('SELECT DISTINCT application FROM data_keys')).toEqual([
      { application: 'billing' },
    ]);

    const other = await start({ application: 'clinic' });
    const error = await rejection(other.getRepository(Card).findOneBy({ id: 1 }));
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', retryable: false });
    expect(error.message).toMatch(/"billing".*"clinic"/);
    // Written over by hand, it is what the MAC says that counts.
    await one.query("UPDATE data_keys SET application = 'clinic'");
    expect(
      await rejection(
        (await start({ application: 'clinic' })).getRepository(Card).findOneBy({ id: 1 }),
      ),
    ).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
  });

  it('that nobody named is warned of once at initialize(), and a named one is not', async () => {
    database = await cleanup.create(kind, { entities: [Card], synchronize: true });
    for (const [application, times] of [
      [undefined, 1],
      ['default', 1],
      ['clinic', 0],
    ] as const) {
      const events: KeyEvent[] = [];
      const warnings: unknown[] = [];
      const logger = Object.assign(new StatementLog(), {
        log: (level: string, message: unknown) => {
          if (level === 'warn') warnings.push(message);
        },
      });
      const options = application === undefined ? {} : { application };
      const name = await start({ ...options, onEvent: (event) => events.push(event) }, { logger });
      await name.destroy();
      expect(events.filter(({ type }) => type === 'applicationNotNamed')).toHaveLength(times);
      expect(warnings.filter((text) => String(text).includes('`application`'))).toHaveLength(times);
      await cleanup.run();
      database = await cleanup.create(kind, { entities: [Card], synchronize: true });
    }
  });

  it.each(['migration', 'init', 'synchronize'] as const)(
    'is unknown in a database from before epochs, which works as it did once %s brought the columns',
    async (how) => {
      database = await cleanup.create(kind, { entities: [Card], synchronize: true });
      await makeOld(await start());
      const upgraded = await start(
        {},
        { synchronize: false, migrations: fieldEncryptionMigrations },
      );
      const cards = upgraded.getRepository(Card);
      const { keys, audit, ready } = handleOf(upgraded);
      for (const refused of [
        () => cards.findOneBy({ id: 1 }),
        () => cards.insert({ id: 2, text: 'two' }),
        () => keys.list(),
        ready,
      ]) {
        const error = await rejection(refused);
        expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
        expect(error.message).toContain('AddKeyEpochs1764000003000');
      }

      if (how === 'migration') await upgraded.runMigrations();
      else if (how === 'synchronize') await upgraded.synchronize();
      else {
        const report = (await init(sessionOf(upgraded), { dryRun: false })).document;
        const columnsAdded = ['epoch', 'application'].map(
          (name) => `${schemaOf(upgraded)}data_keys.${name}`,
        );
        expect(report).toMatchObject({ tablesCreated: [], keysCreated: [], columnsAdded });
      }
      expect(await upgraded.query('SELECT DISTINCT epoch, application FROM data_keys')).toEqual([
        { epoch: 0, application: null },
      ]);
      expect(await cards.findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
      const { id } = await keys.rotate();
      await keys.rewrap({ force: true });
      await cards.insert({ id: 2, text: 'two' });
      const rows = await upgraded.query<{ id: string; epoch: number; application: string }[]>(
        'SELECT id, epoch, application FROM data_keys',
      );
      expect(rows.map(({ application }) => application)).toEqual(rows.map(() => 'default'));
      expect(rows.find((row) => row.id === id)?.epoch).toBeGreaterThan(1);
      expect(await audit.verify()).toMatchObject({ ok: true });
    },
  );

  /** As the version before left it: no such columns, and MACs over what there was. */
  async function makeOld(dataSource: DataSource): Promise<void> {
    await dataSource.getRepository(Card).insert({ id: 1, text: 'one' });
    const wrapper = new KeyWrapper(keyFileKms(), 'default');
    for (const record of await installationOf(dataSource).store.list()) {
      const { authenticateState } = await wrapper.unwrap(record);
      const mac = authenticateState({ ...record, epoch: 0 }).toString('base64url');
      await dataSource.query(`UPDATE data_keys SET state_mac = '${mac}' WHERE id = '${record.id}'`);
    }
    await dataSource.destroy();
    const plain = new DataSource({ ...database.dataSourceOptions, synchronize: false });
    await plain.initialize();
    await plain.query('ALTER TABLE data_keys DROP COLUMN application');
    await plain.query('ALTER TABLE data_keys DROP COLUMN epoch');
    await plain.destroy();
  }

  const schemaOf = (dataSource: DataSource): string =>
    dataSource.getMetadata(DataKeySchema).tablePath.replace(/data_keys$/, '');
});

function handleOf(dataSource: DataSource) {
  const handle = fieldEncryption(dataSource);
  return { keys: handle.keys, audit: handle.audit, ready: () => handle.ready() };
}

function sessionOf(dataSource: DataSource): Session {
  const output = undefined as never;
  const installation = installationOf(dataSource);
  return {
    dataSource,
    dataSourcePath: '',
    installation,
    fieldEncryption: fieldEncryption(dataSource),
    output,
  };
}
