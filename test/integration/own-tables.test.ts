import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { fieldEncryptionMigrations } from '../../migrations';
import { BlindIndex, Encrypted, fieldEncryption, withFieldEncryption } from '../../src';
import { AuditSchema } from '../../src/typeorm/tables/typeorm-audit-store';
import { DataKeySchema } from '../../src/typeorm/tables/data-key-table';
import { DATABASES, describeDiagonal } from '../support/databases';
import type { CommonOptions, TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';
import { StatementLog } from '../support/statement-log';
import { quoted } from '../support/sql-of';

@Entity()
class Card {
  @PrimaryGeneratedColumn() id!: number;
  @Column() label!: string;
  @Encrypted() @BlindIndex() number!: string;
}

const OWN = [
  'data_keys',
  'field_encryption_access',
  'field_encryption_audit',
  'field_encryption_ranges',
  'field_encryption_runs',
];

/** Keeps statements that failed. */
class FailureLog extends StatementLog {
  readonly failed: string[] = [];
  override logQueryError(_error?: unknown, sql = ''): void {
    this.failed.push(sql);
  }
}

describeDiagonal("The library's own tables", (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind);
  });
  afterEach(() => cleanup.run());

  const open = (options: CommonOptions = {}): Promise<DataSource> =>
    cleanup.add(protect(database, {}, { entities: [Card], ...options })).initialize();

  const changes = async (dataSource: DataSource): Promise<string[]> => {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map(({ query }) => query);
  };

  it('are none of the entities that an application sees', async () => {
    const options = { ...database.dataSourceOptions, entities: [Card], synchronize: true };
    const dataSource = withFieldEncryption(new DataSource(options as never), { kms: keyFileKms() });
    await cleanup.add(dataSource).initialize();

    expect(dataSource.entityMetadatas.map(({ name }) => name)).toEqual(['Card']);
    expect([...dataSource.entityMetadatasMap.keys()]).toEqual([Card]);
    expect(dataSource.options.entities).toEqual([Card]);
    expect(OWN.map((table) => dataSource.hasMetadata(table))).toEqual(OWN.map(() => false));
    expect(dataSource.getMetadata(DataKeySchema).tableName).toBe('data_keys');
  });

  it('keep the keys and the audit log when every table is cleared between tests', async () => {
    const dataSource = await open({ synchronize: true });
    const cards = dataSource.getRepository(Card);
    await cards.save({ label: 'a', number: '4111' });
    const keys = await dataSource.getRepository(DataKeySchema).find();
    const log = await dataSource.getRepository(AuditSchema).count();
    expect(log).toBeGreaterThan(0);

    for (const { target } of dataSource.entityMetadatas) {
      await dataSource.getRepository(target).clear();
    }

    expect(await cards.count()).toBe(0);
    expect(await dataSource.getRepository(DataKeySchema).find()).toEqual(keys);
    expect(await dataSource.getRepository(AuditSchema).count()).toBe(log);
    await cards.save({ label: 'b', number: '4222' });
    expect(await cards.findOneBy({ number: '4222' })).toMatchObject({ label: 'b' });
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('are made anew, and the first keys with them, when the database is dropped and synchronized', async () => {
    const dataSource = await open({ synchronize: true });
    const cards = dataSource.getRepository(Card);
    await cards.save({ label: 'a', number: '4111' });
    const [before] = await fieldEncryption(dataSource).keys.list();

    await dataSource.synchronize(true);

    const [after] = await fieldEncryption(dataSource).keys.list();
    expect(after?.id).not.toBe(before?.id);
    await cards.save({ label: 'b', number: '4222' });
    expect(await cards.find()).toMatchObject([{ label: 'b', number: '4222' }]);
    expect(await changes(dataSource)).toEqual([]);
  });

  it('are no difference where the migrations made them, whether this DataSource lists these or not', async () => {
    const migrating = await open({ migrations: [...fieldEncryptionMigrations] });
    await migrating.runMigrations();
    expect((await changes(migrating)).filter(namesOwn)).toEqual([]);
    await migrating.destroy();

    const other = await open();
    expect((await changes(other)).filter(namesOwn)).toEqual([]);
    await other.synchronize();
    expect(await changes(other)).toEqual([]);
  });

  it('are looked for in an empty database without a statement that fails', async () => {
    const logger = new FailureLog();
    const dataSource = await open({ migrations: [...fieldEncryptionMigrations], logger });
    await dataSource.runMigrations();
    expect(logger.failed).toEqual([]);
  });

  it('are made by what is generated where no migration of theirs is listed', async () => {
    const statements = await changes(await open());
    for (const table of OWN) {
      expect(statements).toContainEqual(
        expect.stringContaining(`CREATE TABLE ${quoted(kind, table)}`),
      );
    }
  });
});

const mysql = DATABASES.filter(
  ({ dialect, unavailable }) => dialect === 'mysql' && unavailable === undefined,
);

describe.each(mysql)('A row of an own table that the database would change ($name)', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('is not stored, though an INSERT that leaves out rows would let it pass', async () => {
    const database = await cleanup.create(kind, { entities: [Card], synchronize: true });
    const dataSource = cleanup.add(await protect(database).initialize());
    await dataSource.query('DELETE FROM data_keys');
    await dataSource.query('DELETE FROM field_encryption_audit');
    await dataSource.query('ALTER TABLE data_keys MODIFY suite varchar(3) NOT NULL');
    await dataSource.destroy();

    const late = cleanup.add(await protect(database, {}, { synchronize: false }).initialize());
    await expect(fieldEncryption(late).ready()).rejects.toThrow('has changed a value of a row');
    expect(await late.getRepository(DataKeySchema).count()).toBe(0);
  });
});

function namesOwn(statement: string): boolean {
  return OWN.some((table) => statement.includes(table));
}
