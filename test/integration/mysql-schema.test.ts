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
    const written = await expand(await open(samples, names));
    expect(written.text.match(/(?<=^Sample\.touched: drops )[^,]*/gim)).toEqual([
      expect.stringMatching(/^DEFAULT current_timestamp/i),
      expect.stringMatching(/^ON UPDATE current_timestamp/i),
    ]);
    const migration = compiledMigration(writtenFiles(written)[0]!);
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

  // The rest does not depend on the driver.
  if (type !== kind.type) return;

  const CUSTOMER = {
    email: encryptedColumn(),
    ...blindIndexColumns('email', { normalize: 'email', uniqueWith: ['shop'] }),
    age: encryptedColumn({ type: 'number', nullable: true }),
    active: encryptedColumn({ type: 'boolean', nullable: true }),
    note: encryptedColumn({ storage: 'binary', nullable: true }),
    shop: { type: 'int' },
    changed: { type: 'datetime', nullable: true },
  } as const;
  const ENCRYPTED = ['email', 'age', 'active', 'note'];

  async function createCustomers(): Promise<void> {
    await plain.query('CREATE TABLE shop (id int PRIMARY KEY)');
    await plain.query(
      `CREATE TABLE sample (id int PRIMARY KEY, shop int NOT NULL, email varchar(40) NOT NULL DEFAULT 'none',
         age float, active bit(1), note varchar(20),
         changed datetime NULL ON UPDATE CURRENT_TIMESTAMP,
         UNIQUE KEY of_shop (shop, email), KEY age (age), CONSTRAINT adult CHECK (age >= 18),
         CONSTRAINT of FOREIGN KEY (shop) REFERENCES shop (id))`,
    );
    await plain.query('INSERT INTO shop VALUES (1)');
    await plain.query(
      `INSERT INTO sample VALUES (1, 1, 'Ada', 36.6, b'1', 'née', '2020-01-01'), (2, 1, 'Bob', NULL, NULL, NULL, NULL)`,
    );
  }

  /** Runs one direction of a migration, and dies before one of its statements. */
  async function dieBefore(
    direction: 'down' | 'up',
    migration: MigrationClass,
    statement: number,
  ): Promise<boolean> {
    const runner = plain.createQueryRunner();
    let left = statement;
    const query = async (sql: string): Promise<unknown> => {
      if (!sql.startsWith('SELECT') && left-- === 0) throw new Error('the process died');
      return runner.query(sql);
    };
    try {
      await new migration()[direction]({ query } as unknown as QueryRunner);
      return false;
    } catch (error) {
      if (!/died/.test(String(error))) throw error;
      return true;
    } finally {
      await runner.release();
    }
  }

  it('become encrypted by a migration that died between any two of its statements', async () => {
    await createCustomers();
    const before = await state();
    const dataSource = await open(entity(CUSTOMER), ENCRYPTED);
    const migration = await migrationOf(expand(dataSource));
    await dieBefore('up', migration, Infinity);
    const after = await state();
    await dieBefore('down', migration, Infinity);
    expect(await state()).toEqual(before);

    let deaths = 0;
    for (; await dieBefore('up', migration, deaths); deaths += 1) {
      await dieBefore('up', migration, Infinity);
      expect(await state()).toEqual(after);
      await dieBefore('down', migration, Infinity);
    }
    expect(deaths).toBeGreaterThan(3);
    await plain.query(`UPDATE sample SET active = 'true', changed = changed WHERE id = 1`);
    for (deaths = 0; await dieBefore('down', migration, deaths); deaths += 1) {
      await dieBefore('down', migration, Infinity);
      expect(await state()).toEqual(before);
      // It was not recorded, and runs again.
      await dieBefore('down', migration, Infinity);
      expect(await state()).toEqual(before);
      await dieBefore('up', migration, Infinity);
      await plain.query(`UPDATE sample SET active = 'true', changed = changed WHERE id = 1`);
    }
    expect(deaths).toBeGreaterThan(3);
  });

  it('are emptied by synchronize, but not by the migration', async () => {
    await plain.query('CREATE TABLE sample (id int PRIMARY KEY, note text)');
    await plain.query(`INSERT INTO sample VALUES (1, 'Ada')`);
    const note = { note: encryptedColumn({ type: 'string', nullable: true }) };
    const migration = await migrationOf(expand(await open(entity(note), ['note'])));
    const dataSource = await open(entity(note), ['note'], [migration]);
    const read = () => dataSource.getRepository('Sample').find();
    await dataSource.runMigrations();
    await dataSource.synchronize();
    expect(await read()).toEqual([{ id: 1, note: 'Ada' }]);
    await dataSource.undoLastMigration();
    await dataSource.synchronize();
    expect(await read()).toEqual([{ id: 1, note: null }]);
  });

  it('keep the index that a foreign key needs', async () => {
    await createCustomers();
    const dataSource = await open(entity(CUSTOMER), ENCRYPTED);
    const written = await expand(dataSource);
    expect(written.text).toContain('Sample.email: drops "of_shop" (UNIQUE KEY `of_shop`');
    expect(written.text).toContain('Sample.age: drops "adult" (CONSTRAINT `adult` CHECK');
    expect(written.text).toMatch(/^Sample\.email: drops DEFAULT '?none'?, which/m);
    expect(written.text.match(/drops DEFAULT/g)).toHaveLength(1);
    await dieBefore('up', compiledMigration(writtenFiles(written)[0]!), Infinity);
    const [table] = await state();
    expect(table).toContain('KEY `of` (`shop`)');
    expect(await expand(dataSource)).toMatchObject({ exitCode: 1 });
  });

  it('become encrypted in a database where they have another length or collation', async () => {
    await createCustomers();
    const dataSource = await open(entity(CUSTOMER), ENCRYPTED);
    const migration = await migrationOf(expand(dataSource));
    await plain.query(
      `ALTER TABLE sample MODIFY email varchar(50) CHARACTER SET latin1 NOT NULL DEFAULT 'x', MODIFY age double`,
    );
    await dieBefore('up', migration, Infinity);
    const ofEncrypted = new RegExp(`\`(${ENCRYPTED.join('|')})`);
    expect((await differences(dataSource)).filter((sql) => ofEncrypted.test(sql))).toEqual([]);
    const rows = await dataSource.getRepository('Sample').find({ order: { id: 'ASC' } });
    expect(rows).toMatchObject([
      { id: 1, email: 'Ada', age: 36.6, active: true, note: 'née' },
      { id: 2, email: 'Bob', age: null },
    ]);
  });

  it('are left alone where sql_mode would cut values', async () => {
    await createCustomers();
    const before = await state();
    const dataSource = await open(entity(CUSTOMER), ENCRYPTED);
    const migration = await migrationOf(expand(dataSource));
    const runner = plain.createQueryRunner();
    await runner.query(`SET SESSION sql_mode = ''`);
    for (const direction of ['up', 'down'] as const) {
      const problem = await rejection(new migration()[direction](runner));
      expect(problem.message).toMatch(/^sql_mode is not strict.*STRICT_TRANS_TABLES/);
    }
    await runner.query(`SET SESSION sql_mode = DEFAULT`);
    await runner.release();
    expect(await state()).toEqual(before);
  });

  const optional = (options: EncryptedOptions) => encryptedColumn({ nullable: true, ...options });
  const withColumns = (columns: string): string =>
    `CREATE TABLE sample (id int PRIMARY KEY, ${columns})`;

  it.each<[string, string, Record<string, EntitySchemaColumnOptions>, RegExp]>([
    [
      'a type without a text form',
      withColumns('place point'),
      { place: optional({}) },
      /Sample\.place: the column `place` is point, .*Convert it/,
    ],
    [
      'bytes into text',
      withColumns('photo blob'),
      { photo: optional({ type: 'bytes' }) },
      /Sample\.photo: .*storage: 'binary'/,
    ],
    [
      'bits into bytes',
      withColumns('mask bit(8)'),
      { mask: optional({ type: 'bytes', storage: 'binary' }) },
      /Sample\.mask: .*becomes a number/,
    ],
    [
      'a foreign key',
      withColumns('code int, CONSTRAINT of FOREIGN KEY (code) REFERENCES sample (id)'),
      { code: optional({ type: 'number' }) },
      /Sample\.code: the column takes part in a key \(CONSTRAINT `of`/,
    ],
    [
      'what a foreign key refers to',
      withColumns(
        'code int UNIQUE, other int, CONSTRAINT of FOREIGN KEY (other) REFERENCES sample (code)',
      ),
      { code: optional({ type: 'number' }) },
      /Sample\.code: the column takes part in a key \(`of` of `sample`\)/,
    ],
    [
      'a computed column',
      withColumns('name varchar(9), low varchar(9) AS (lower(name)) STORED'),
      { low: encryptedColumn() },
      /Sample\.low: the database computes the column/,
    ],
    [
      'what another column is computed from',
      withColumns('name varchar(9), low varchar(9) AS (lower(name)) STORED'),
      { name: optional({}) },
      /Sample\.name: the column is used by another one \(`low`/,
    ],
    [
      'what the table is partitioned by',
      'CREATE TABLE sample (id int, born date) PARTITION BY HASH (year(born))',
      { born: optional({ type: 'date' }) },
      /Sample\.born: the table is partitioned by the column/,
    ],
    [
      'cleartext that is too long',
      `${withColumns('body text')} AS SELECT 1 AS id, REPEAT('a', 300) AS body`,
      { body: optional({ length: 102 }) },
      /Sample\.body: `sample` has rows of 300 characters, and the column would hold 102/,
    ],
    [
      'a row that is too long',
      withColumns('name varchar(60), more varchar(15000)'),
      { name: optional({ length: 2000 }) },
      /Sample\.name: a row of `sample` would take 68000 bytes, .*"length"/,
    ],
    [
      'an index that is too long',
      withColumns('name varchar(60), more varchar(1000)'),
      {
        name: optional({}),
        ...blindIndexColumns('name', { uniqueWith: ['more'] }),
        more: { type: 'varchar', length: 1000, nullable: true },
      },
      /Sample\.name: an entry of the index "IDX_\w+" would take 4000 bytes/,
    ],
    [
      'an index on a column without a length',
      withColumns('name varchar(60), more text'),
      {
        name: optional({}),
        ...blindIndexColumns('name', { uniqueWith: ['more'] }),
        more: { type: 'text', nullable: true },
      },
      /Sample\.name: the column `more` has no length/,
    ],
  ])('are refused with the remedy before anything is written: %s', async (...of) => {
    const [, sql, properties, message] = of;
    // Where TypeORM looks for columns that are computed.
    await plain.query(
      'CREATE TABLE typeorm_metadata (type text, `schema` text, `table` text, name text, value text)',
    );
    await plain.query(sql);
    const names = Object.keys(properties).filter((name) => !/^more$|_bidx$/.test(name));
    const dataSource = await open(entity(properties), names);
    expect(await rejection(expand(dataSource))).toMatchObject({
      code: 'ERR_CONFIGURATION',
      message: expect.stringMatching(message) as string,
    });
  });

  it('get their CHECK by a migration that can run again, and say that it locks the table', async () => {
    const properties = { name: optional({}), note: optional({ storage: 'binary' }) };
    await plain.query(withColumns('name longtext COLLATE utf8mb4_bin, note longblob'));
    const dataSource = await open(entity(properties), []);
    const before = await state();
    const written = await contract(dataSource);
    expect(written.text).toMatch(/Sample: the migration reads the whole table, .*write/);
    const migration = compiledMigration(writtenFiles(written)[0]!);
    await dieBefore('up', migration, Infinity);
    const after = await state();
    await dieBefore('up', migration, Infinity);
    expect(await state()).toEqual(after);
    const problem = await rejection(plain.query(`INSERT INTO sample VALUES (1, 'secret', NULL)`));
    expect(problem.message).toMatch(/CHK_/);
    expect(problem.message).not.toContain('secret');
    expect(await contract(dataSource)).toMatchObject({ exitCode: 1 });
    await dieBefore('down', migration, Infinity);
    await dieBefore('down', migration, Infinity);
    expect(await state()).toEqual(before);
  });

  it('compare by their bytes, whatever the table does, and have a length as far as a row has room', async () => {
    await plain.query(`ALTER DATABASE COLLATE latin1_swedish_ci`);
    const properties = {
      name: encryptedColumn(),
      ...blindIndexColumns('name'),
      short: encryptedColumn({ length: 200 }),
      long: encryptedColumn({ length: 20_000 }),
      photo: encryptedColumn({ type: 'bytes', storage: 'binary' }),
    };
    const dataSource = await open(entity(properties), []);
    await dataSource.synchronize();
    expect(await differences(dataSource)).toEqual([]);
    const columns = await plain.query<{ name: string; type: string; collation: string | null }[]>(
      `SELECT column_name AS name, column_type AS type, collation_name AS collation
         FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'sample'`,
    );
    expect(
      Object.fromEntries(columns.map(({ name, ...of }) => [name, Object.values(of)])),
    ).toMatchObject({
      name: ['longtext', 'utf8mb4_bin'],
      name_bidx: ['varchar(43)', 'ascii_bin'],
      short: ['varchar(200)', 'utf8mb4_bin'],
      long: ['longtext', 'utf8mb4_bin'],
      photo: ['longblob', null],
    });
  });
});
