import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource, EntitySchema } from 'typeorm';
import type { EntitySchemaColumnOptions, QueryRunner } from 'typeorm';
import { blindIndexColumns, encryptedColumn, fieldEncryption } from '../../src';
import type { EncryptedOptions, FieldEncryptionOptions } from '../../src';
import { schemaContract, schemaExpand } from '../../src/cli/commands/schema';
import { DATABASES } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { compiledMigration, sessionOf, writtenFiles } from '../support/written-migrations';
import type { MigrationClass } from '../support/written-migrations';

const OPTIONS = { dryRun: false, outputJs: false, esm: false, pretty: false };

/** A column before it is encrypted: its definition, values in SQL, its property, and what that reads. */
interface Sample {
  readonly sql: string;
  readonly values: readonly string[];
  readonly property: Exclude<EncryptedOptions, undefined>;
  readonly read: readonly unknown[];
}

const text = (sql: string, value: string): Sample => ({
  ...{ sql, values: [`'${value}'`], property: { type: 'string' }, read: [value] },
});

const number = (sql: string, ...values: readonly number[]): Sample => ({
  ...{ sql, values: values.map(String), property: { type: 'number' }, read: values },
});

const SAMPLES: Readonly<Record<string, Sample>> = {
  latin: text('varchar(10) CHARACTER SET latin1 DEFAULT NULL', 'Müller'),
  fixed: text(`char(5) DEFAULT 'x'`, 'ab'),
  tiny: text('tinytext', '😀 Ада'),
  body: text('text, FULLTEXT KEY words (body)', 'Dear Ada'),
  exact: text('longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', 'a'),
  answer: text(`enum('yes','no')`, 'no'),
  flags: text(`set('x','y','z')`, 'x,z'),
  money: text('decimal(20,5)', '12345678901234.50000'),
  hour: text('time', '12:00:01'),
  guid: text('uuid', 'b1a5a0e4-0000-4000-8000-000000000001'),
  whole: number('int(5) unsigned zerofill NULL, KEY whole (whole)', 42, 99999),
  checked: number('int DEFAULT 5 CHECK (checked > 0)', 3),
  small: number('smallint', -7),
  single: number('float', 0.1, 16777215, -2.5e-7),
  precise: number('double', 0.1, 1e300, 0.30000000000000004),
  season: number('year', 2024),
  bits: { ...number('bit(10)', 513), values: [`b'1000000001'`] },
  big: {
    ...{ sql: 'bigint unsigned', values: ['18446744073709551615'] },
    ...{ property: { type: 'bigint' }, read: [18446744073709551615n] },
  },
  active: {
    ...{ sql: 'tinyint(1)', values: ['1', '0'] },
    ...{ property: { type: 'boolean' }, read: [true, false] },
  },
  flag: {
    ...{ sql: 'bit(1)', values: [`b'1'`, `b'0'`] },
    ...{ property: { type: 'boolean' }, read: [true, false] },
  },
  born: {
    ...{ sql: 'date', values: [`'1815-12-10'`] },
    ...{ property: { type: 'date' }, read: [new Date('1815-12-10')] },
  },
  seen: {
    ...{ sql: 'datetime(3)', values: [`'2015-12-10 12:34:56.789'`] },
    ...{ property: { type: 'date' }, read: [new Date(2015, 11, 10, 12, 34, 56, 789)] },
  },
  touched: {
    sql: 'timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP',
    values: [`'2015-12-10 12:34:56'`],
    ...{ property: { type: 'date' }, read: [new Date(2015, 11, 10, 12, 34, 56)] },
  },
  doc: {
    ...{ sql: 'json', values: [`'{"a": [1, "ä"]}'`] },
    ...{ property: { type: 'json' }, read: [{ a: [1, 'ä'] }] },
  },
  photo: {
    ...{ sql: 'varbinary(10)', values: [`x'00ff01'`] },
    property: { type: 'bytes', storage: 'binary' },
    read: [Buffer.from([0, 255, 1])],
  },
  note: {
    ...{ sql: 'varchar(10) CHARACTER SET latin1', values: [`'Müller'`] },
    property: { storage: 'binary' },
    read: ['Müller'],
  },
};

const MARIADB = DATABASES.filter(({ dialect }) => dialect === 'mysql');
const DRIVERS = MARIADB.flatMap((kind) =>
  (['mariadb', 'mysql'] as const).map((type) => ({ kind, type })),
);

describe.each(DRIVERS)('Columns by the driver $type', ({ kind, type }) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let folder: string;
  let plain: DataSource;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-migrations-'));
    database = await cleanup.create(kind);
    Object.assign(database.dataSourceOptions, { type });
    plain = await cleanup.add(new DataSource(database.dataSourceOptions)).initialize();
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  const entity = (columns: Record<string, EntitySchemaColumnOptions>): EntitySchema =>
    new EntitySchema({
      name: 'Sample',
      columns: { id: { type: 'int', primary: true }, ...columns },
    });

  async function open(
    of: EntitySchema,
    properties: readonly string[],
    migrations: readonly MigrationClass[] = [],
    options: Partial<FieldEncryptionOptions> = {},
  ): Promise<DataSource> {
    const legacyPlaintext = properties.map((property) => `Sample.${property}`);
    const dataSource = protect(
      database,
      { ...options, ...(properties.length > 0 && { legacyPlaintext }) },
      { entities: [of], migrations: [...migrations] },
    );
    await cleanup.add(dataSource).initialize();
    return dataSource;
  }

  const expand = (dataSource: DataSource) =>
    schemaExpand(sessionOf(dataSource), join(folder, 'expand'), {
      ...OPTIONS,
      concurrently: false,
    });
  const contract = (dataSource: DataSource) =>
    schemaContract(sessionOf(dataSource), join(folder, 'contract'), OPTIONS);
  const migrationOf = async (written: ReturnType<typeof expand>): Promise<MigrationClass> =>
    compiledMigration(writtenFiles(await written)[0] ?? '');

  async function differences(dataSource: DataSource): Promise<string[]> {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map(({ query }) => query).filter((query) => query.includes('`sample`'));
  }

  /** The table, with all that it holds. */
  async function state(): Promise<unknown[]> {
    const [created] = await plain.query<Record<string, string>[]>('SHOW CREATE TABLE sample');
    return [created?.['Create Table'], await plain.query('SELECT * FROM sample ORDER BY id')];
  }

  async function createSamples(): Promise<Record<string, unknown>[]> {
    const names = Object.keys(SAMPLES);
    const columns = names.map((name) => `${name} ${SAMPLES[name]!.sql}`);
    await plain.query(`CREATE TABLE sample (id int PRIMARY KEY, ${columns.join(', ')})`);
    const rows = Math.max(...Object.values(SAMPLES).map(({ values }) => values.length));
    for (let row = 0; row <= rows; row += 1) {
      const values = names.map((name) => SAMPLES[name]!.values[row] ?? 'NULL');
      await plain.query(`INSERT INTO sample VALUES (${[row, ...values].join(', ')})`);
    }
    return Array.from({ length: rows + 1 }, (_, row) => ({
      id: row,
      ...Object.fromEntries(names.map((name) => [name, SAMPLES[name]!.read[row] ?? null])),
    }));
  }

  it('of every type become encrypted and come back', async () => {
    const expected = await createSamples();
    const before = await state();
    const names = Object.keys(SAMPLES);
    const samples = entity(
      Object.fromEntries(
        names.map((name) => [
          name,
          encryptedColumn({ nullable: true, ...SAMPLES[name]!.property }),
        ]),
      ),
    );
    const migration = await migrationOf(expand(await open(samples, names)));
    const dataSource = await open(samples, names, [migration]);
    const read = () => dataSource.getRepository('Sample').find({ order: { id: 'ASC' } });
    await dataSource.runMigrations();
    // To TypeORM's driver for MySQL, a column of MariaDB that may be NULL always differs.
    if (type === kind.type) expect(await differences(dataSource)).toEqual([]);
    expect(await read()).toEqual(expected);

    await dataSource.synchronize();
    expect(await fieldEncryption(dataSource).encrypt()).toMatchObject({ failed: 0, remaining: 0 });
    expect(await read()).toEqual(expected);
    expect((await rejection(dataSource.undoLastMigration())).message).toMatch(
      /still holds ciphertext.* data decrypt --entity Sample/,
    );
    expect(await fieldEncryption(dataSource).decrypt()).toMatchObject({ failed: 0, remaining: 0 });
    expect(await read()).toEqual(expected);
    await dataSource.undoLastMigration();
    expect(await state()).toEqual(before);
  });
});
