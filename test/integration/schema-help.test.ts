import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EntitySchema } from 'typeorm';
import type { DataSource, EntitySchemaOptions } from 'typeorm';
import { Linter } from 'eslint';
import tseslint from 'typescript-eslint';
import { blindIndexColumns, encryptedColumn, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { schemaContract, schemaExpand } from '../../src/cli/commands/schema';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { DatabaseKind, TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { storedPlaintexts } from '../support/stored-rows';
import { bytesOf } from '../support/sql-of';
import { compiledMigration, sessionOf, writtenFiles } from '../support/written-migrations';
import type { MigrationClass } from '../support/written-migrations';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: 'integer', primary: true },
    email: encryptedColumn(),
    note: { type: 'varchar', length: 20 },
  },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], migrations: ['migrations/*.js'] }),
  { kms: localKms({ passphrase: () => 'a passphrase for a test' }), legacyPlaintext: ['Patient.email'] },
);
`;

interface Patient {
  id: number;
  email: string;
  age: number | null;
  seen: Date | null;
  photo: Uint8Array | null;
  note: string;
  active: boolean;
}

const OPTIONS = { dryRun: false, outputJs: false, esm: false, pretty: false };
const PROPERTIES = ['email', 'age', 'seen', 'photo', 'note', 'active'];
const NAMES = PROPERTIES.map((property) => `Patient.${property}`);

const TIMESTAMP = { type: 'timestamp with time zone' } as const;
/** MySQL keeps seconds, unless it is told. */
const DATETIME = { type: 'datetime', precision: 3 } as const;

/** The table before anything of it was encrypted. */
const cleartext = ({ type }: DatabaseKind): EntitySchema =>
  new EntitySchema({
    name: 'Patient',
    columns: {
      id: { type: 'integer', primary: true },
      email: { type: 'varchar', length: 40, unique: true },
      age: { type: 'integer', nullable: true, default: 30 },
      seen: { ...(type === 'postgres' ? TIMESTAMP : DATETIME), nullable: true },
      photo: { type: type === 'postgres' ? 'bytea' : 'blob', nullable: true },
      note: { type: 'varchar', length: 20 },
      active: { type: 'boolean' },
    },
    indices: [{ name: 'patient_age', columns: ['age'] }],
    checks: [{ name: 'patient_adult', expression: 'age >= 18' }],
  });

function encrypted(changes: EntitySchemaOptions<Patient>['columns'] = {}): EntitySchema<Patient> {
  return new EntitySchema<Patient>({
    name: 'Patient',
    columns: {
      id: { type: 'integer', primary: true },
      email: encryptedColumn({ check: true }),
      ...blindIndexColumns('email', { normalize: 'email', unique: true }),
      age: encryptedColumn({ type: 'number', nullable: true, check: true }),
      ...blindIndexColumns('age', { uniqueWith: ['id'] }),
      seen: encryptedColumn({ type: 'date', nullable: true, check: true }),
      photo: encryptedColumn({ type: 'bytes', storage: 'binary', nullable: true, check: true }),
      note: encryptedColumn({ storage: 'binary', check: true }),
      active: encryptedColumn({ type: 'boolean', check: true }),
      ...changes,
    },
  });
}

const ROWS: readonly Patient[] = [
  {
    id: 1,
    email: 'Ada@Example.org',
    age: 36,
    seen: new Date('2015-12-10T12:34:56.789Z'),
    photo: Buffer.from([1, 2, 3]),
    note: 'a',
    active: true,
  },
  { id: 2, email: 'Bob@Example.org', age: null, seen: null, photo: null, note: 'b', active: false },
];

describeDiagonal('schema expand and schema contract', (kind) => {
  const isPostgres = kind.type === 'postgres';
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let folder: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-migrations-'));
    database = await cleanup.create(kind);
    const before = await open(cleartext(kind));
    await before.synchronize();
    await before.getRepository('Patient').insert([...ROWS]);
    await before.destroy();
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(
    entity: EntitySchema,
    options: Partial<FieldEncryptionOptions> = {},
    migrations: MigrationClass[] = [],
  ): Promise<DataSource> {
    const dataSource = protect(database, options, { entities: [entity], migrations });
    return cleanup.add(dataSource).initialize();
  }

  const expand = (dataSource: DataSource, options: object = {}) =>
    schemaExpand(sessionOf(dataSource), join(folder, 'expand'), {
      ...OPTIONS,
      concurrently: false,
      ...options,
    });
  const contract = (dataSource: DataSource, options: object = {}) =>
    schemaContract(sessionOf(dataSource), join(folder, 'contract'), { ...OPTIONS, ...options });

  /** The migrations that a command has written, linted and compiled. */
  function compiled(written: { document: object }): MigrationClass[] {
    return writtenFiles(written).map((path) => {
      expect(lintProblems(path)).toEqual([]);
      return compiledMigration(path);
    });
  }

  async function differences(dataSource: DataSource): Promise<string[]> {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map(({ query }) => query).filter((query) => !query.includes('data_keys'));
  }

  const read = (dataSource: DataSource): Promise<Patient[]> =>
    dataSource.getRepository<Patient>('Patient').find({ order: { id: 'ASC' } });

  it('takes a cleartext table to ciphertext and back without losing a row', async () => {
    const legacy = { legacyPlaintext: NAMES };
    let dataSource = await open(encrypted(), legacy);
    const expanded = await expand(dataSource);
    expect(expanded.exitCode).toBe(0);
    expect(expanded.text).toMatch(/^Patient\.age: drops .*patient_age/m);
    expect(expanded.text).toMatch(/^Patient\.age: drops DEFAULT '?30'?, .*in the application/m);
    expect(expanded.text.match(/drops DEFAULT/g)).toHaveLength(1);
    const expansion = compiled(expanded);
    expect(expansion).toHaveLength(1);

    dataSource = await open(encrypted(), legacy, expansion);
    await dataSource.runMigrations();
    expect(await differences(dataSource)).toEqual([]);
    expect(await read(dataSource)).toEqual(ROWS);
    const [{ seen: stored } = { seen: '' }] = await dataSource.query<{ seen: string }[]>(
      `SELECT seen FROM patient WHERE id = 1`,
    );
    // A form that is read alike in every time zone, or the driver's own.
    expect(stored).toMatch(
      kind.dialect === 'mysql' ? /^2015-12-10 \d\d:34:56.789$/ : /^2015-12-10T12:34:56.789(000)?Z$/,
    );
    const again = await expand(dataSource);
    expect(again).toMatchObject({ exitCode: 1, document: { files: [] } });
    expect(again.text).toMatch(/^There is nothing to do.*\n.*changed, compile it first/);
    // There are rows in clear still.
    await keyTable(dataSource);
    expect(await contract(dataSource)).toMatchObject({ exitCode: 1, document: { files: [] } });
    const strict = await open(encrypted());
    expect((await rejection(contract(strict))).message).toMatch(
      /^Patient\.email: 2 rows hold cleartext\. .*data encrypt --entity Patient/,
    );

    for (const { id, ...values } of ROWS)
      await dataSource.getRepository('Patient').update(id, values);
    expect((await rejection(dataSource.undoLastMigration())).message).toMatch(
      /Patient\.\w+ still holds ciphertext.* data decrypt --entity Patient/,
    );
    dataSource = await open(encrypted(), {}, expansion);
    expect(await storedPlaintexts(dataSource, 'Patient')).toMatchObject(
      ROWS.map(({ email, age, seen, note }) => ({ email, age, seen, note })),
    );

    const contraction = compiled(await contract(dataSource));
    expect(contraction).toHaveLength(isPostgres ? 2 : 1);
    dataSource = await open(encrypted(), {}, [...expansion, ...contraction]);
    await dataSource.runMigrations({ transaction: 'each' });
    expect(await differences(dataSource)).toEqual([]);
    expect(await read(dataSource)).toEqual(ROWS);
    expect(await contract(dataSource)).toMatchObject({ exitCode: 1, document: { files: [] } });
    for (const value of [
      `'ada@example.org'`,
      `'AQID${'A'.repeat(46)}'`,
      `'AQ ${'A'.repeat(60)}'`,
    ]) {
      await expectRefused(dataSource, `UPDATE patient SET email = ${value}`);
    }
    await expectRefused(dataSource, `UPDATE patient SET age = '36'`);
    for (const hex of ['', '0203', '0103', '02'.repeat(40)]) {
      const bytes = bytesOf(kind, Buffer.from(hex, 'hex'));
      await expectRefused(dataSource, `UPDATE patient SET photo = ${bytes}`);
    }
    await dataSource.query(`UPDATE patient SET photo = NULL`);
    await dataSource.getRepository('Patient').update(1, { email: 'a', age: 1, photo: Buffer.of() });

    // The way back. What decrypts the rows is not the matter here, only what has to go first.
    const back = await open(encrypted(), legacy, [...expansion, ...contraction]);
    expect((await rejection(fieldEncryption(back).decrypt({ dryRun: true }))).message).toMatch(
      /^Patient\.email: the CHECK constraint .* `migration:generate` write the migration that drops it/,
    );
    expect((await differences(back)).join()).toMatch(
      kind.dialect === 'sqlite' ? /CREATE TABLE "temporary_patient"/ : /DROP CONSTRAINT ["`]CHK_/,
    );
    while ((await dataSource.query(`SELECT * FROM migrations`)).length > 1) {
      await dataSource.undoLastMigration();
    }
    const bytes = bytesOf(kind, Buffer.from('n'));
    await dataSource.query(
      `UPDATE patient SET email = REPLACE('Ada#', '#', CAST(id AS char(1))), age = '36', seen = $1, photo = NULL, note = ${bytes}, active = 'false'`.replace(
        '$1',
        `'${stored}'`,
      ),
    );
    if (kind.dialect !== 'sqlite') {
      const tooLong = bytesOf(kind, Buffer.alloc(21, 'a'));
      await dataSource.query(`UPDATE patient SET note = ${tooLong} WHERE id = 2`);
      expect((await rejection(dataSource.undoLastMigration())).message).toMatch(/too long/);
      await dataSource.query(`UPDATE patient SET note = ${bytes}`);
    }
    await dataSource.undoLastMigration();
    await dataSource.destroy();
    const after = await open(cleartext(kind));
    expect(await differences(after)).toEqual([]);
    expect(await read(after)).toMatchObject([
      { id: 1, email: 'Ada1', age: 36, seen: ROWS[0]?.seen, note: 'n' },
      { id: 2, email: 'Ada2', age: 36, active: false },
    ]);
    await expectRefused(after, `UPDATE patient SET email = 'same'`);
    // TypeORM makes no constraints of the application there.
    if (kind.dialect !== 'mysql') await expectRefused(after, `UPDATE patient SET age = 3`);
  });

  it('refuses what it could not convert without loss, and says what to do', async () => {
    const unnamed = await open(encrypted());
    const problem = await rejection(expand(unnamed));
    expect(problem).toMatchObject({ code: 'ERR_CONFIGURATION', entity: 'Patient' });
    expect(problem.message).toMatch(/2 rows hold cleartext.*legacyPlaintext: \['Patient.email'\]/);

    const nullable = await open(encrypted({ age: encryptedColumn({ type: 'number' }) }), {
      legacyPlaintext: NAMES,
    });
    expect((await rejection(expand(nullable))).message).toMatch(/Patient\.age: .*nullable: true/);
    if (kind.dialect !== 'sqlite') {
      const photo = encryptedColumn({ type: 'bytes', nullable: true });
      const bytes = await open(encrypted({ photo }), { legacyPlaintext: NAMES });
      expect((await rejection(expand(bytes))).message).toMatch(/storage: 'binary'/);
    } else {
      const legacy = await open(encrypted(), { legacyPlaintext: NAMES });
      await legacy.query(`CREATE INDEX lower_note ON patient (lower(note))`);
      await legacy.query(`CREATE TRIGGER seen_by AFTER INSERT ON patient BEGIN SELECT 1; END`);
      expect((await rejection(expand(legacy))).message).toMatch(
        /would lose the trigger "seen_by", the index "lower_note" on an expression/,
      );
      expect((await rejection(expand(legacy, { concurrently: true }))).message).toMatch(
        /PostgreSQL/,
      );
    }
  });

  it('names the rows that could not be encrypted, before a key is there', async () => {
    const before = await open(cleartext(kind));
    if (kind.dialect === 'mysql') {
      // It takes them for one by default.
      await before.query(
        'ALTER TABLE patient MODIFY email varchar(40) COLLATE utf8mb4_bin NOT NULL',
      );
    }
    const [ada] = ROWS;
    await before.getRepository('Patient').insert([
      { ...ada, id: 3, email: 'Eve@example.org', note: '3', age: null, photo: null },
      { ...ada, id: 5, email: 'EVE@example.org', note: '5', age: null, photo: null },
      { ...ada, id: 6, email: 'ADA@example.org', note: '6', age: null, photo: null },
      { ...ada, id: 4, email: `${'c'.repeat(28)}@example.org`, note: '4', age: null, photo: null },
    ]);
    const changed = encrypted({
      note: encryptedColumn({ type: 'number', storage: 'binary' }),
      email: encryptedColumn({ length: 102 }),
    });
    const dataSource = await open(changed, { legacyPlaintext: NAMES });
    const { text, exitCode } = await expand(dataSource, { dryRun: true });
    expect(exitCode).toBe(0);
    const lines = text.split('\n').filter((line) => line.startsWith('  Patient '));
    expect(lines).toEqual([
      '  Patient 1: note: ERR_UNSUPPORTED_VALUE',
      '  Patient 2: note: ERR_UNSUPPORTED_VALUE',
      '  Patient 4: email: ERR_UNSUPPORTED_VALUE',
      '  Patient 5: email: DUPLICATE_TOKEN with 3',
    ]);
    expect(text).toMatch(/would leave rows in clear, 4 at present/);
    expect(text).toMatch(/both rows have one value to a unique index/);
    expect(text).not.toMatch(/example\.org/i);

    // As the encryption then finds them.
    const [migration] = compiled(await expand(dataSource));
    const expanded = await open(changed, { legacyPlaintext: NAMES }, [migration as MigrationClass]);
    await expanded.runMigrations();
    await keyTable(expanded);
    const { failures } = await fieldEncryption(expanded).encrypt({ dryRun: true });
    expect(failures.map(({ primaryKey, property }) => [...primaryKey, property])).toEqual([
      [1, 'note'],
      [2, 'note'],
      [4, 'email'],
      [5, 'email'],
    ]);
  });

  it('makes the constraint with synchronize, too, for ciphertexts of every form', async () => {
    const fresh = await cleanup.create(kind);
    const entity = encrypted();
    const dataSource = await cleanup
      .add(protect(fresh, { suite: 'aes-256-gcm-siv' }, { entities: [entity] }))
      .initialize();
    await dataSource.synchronize();
    await dataSource.getRepository('Patient').insert(
      Array.from({ length: 70 }, (_, id) => ({
        ...{ id, email: 'a'.repeat(id), age: id, seen: new Date(id) },
        ...{ photo: Buffer.alloc(id), note: '', active: true },
      })),
    );
    expect(await differences(dataSource)).toEqual([]);
    await expectRefused(dataSource, `UPDATE patient SET email = 'clear'`);
    expect(await contract(dataSource)).toMatchObject({ exitCode: 1 });
  });

  // The command itself knows nothing of databases.
  const itOnce = kind.name === 'postgres' ? it : () => undefined;
  itOnce(
    'is a command whose files the TypeORM CLI runs',
    async () => {
      const project = createProject(typeormMajor);
      try {
        project.write('data-source.js', DATA_SOURCE);
        const env = { TEST_DATABASE: JSON.stringify(database.dataSourceOptions) };
        const command = [
          '-d',
          'data-source.js',
          'schema',
          'expand',
          'migrations/EncryptPatient',
          '-o',
        ];
        const shown = await project.run('field-encryption', [...command, '--dry-run'], env);
        expect(shown).toMatchObject({ code: 0, stderr: '' });
        expect(existsSync(join(project.folder, 'migrations'))).toBe(false);
        const written = await project.run('field-encryption', [...command, '--json'], env);
        expect(written).toMatchObject({ code: 0, stderr: '' });
        expect(JSON.parse(written.stdout)).toMatchObject({
          files: [
            { path: expect.stringMatching(/migrations.\d{13}-EncryptPatient\.js$/) as string },
          ],
        });
        const migrated = await project.run(
          'typeorm',
          ['migration:run', '-d', 'data-source.js'],
          env,
        );
        expect(migrated).toMatchObject({ code: 0 });
      } finally {
        project.dispose();
      }
    },
    180_000,
  );

  // What is PostgreSQL's alone; mysql-schema has what is MySQL's.
  if (!isPostgres) return;

  it('drops and brings back indexes that TypeORM does not see, and builds ours concurrently', async () => {
    let dataSource = await open(encrypted(), { legacyPlaintext: NAMES });
    await dataSource.query(`CREATE UNIQUE INDEX "lower_email" ON "patient" (lower("email"))`);
    await dataSource.query(`CREATE INDEX "Mixed Case" ON "patient" ("note")`);
    const written = await expand(dataSource, { concurrently: true, pretty: true });
    expect(written.text).toContain('Patient.note: drops "Mixed Case" (CREATE INDEX');
    expect(written.text).not.toContain('""');
    const migrations = compiled(written);
    expect(migrations).toHaveLength(2);
    dataSource = await open(encrypted(), { legacyPlaintext: NAMES }, migrations);
    await dataSource.runMigrations({ transaction: 'each' });
    expect(await differences(dataSource)).toEqual([]);
    const indexes = async (): Promise<string> =>
      JSON.stringify(await dataSource.query(`SELECT indexdef FROM pg_indexes`));
    expect(await indexes()).not.toContain('lower_email');
    await dataSource.undoLastMigration();
    await dataSource.undoLastMigration();
    expect(await indexes()).toContain('lower_email');
  });
});

/** What the recommended rules of typescript-eslint, and those of ESLint on literals, find in a file. */
function lintProblems(path: string): string[] {
  const core = { 'no-useless-escape': 'error', 'no-empty': 'error' };
  const config = [{ rules: core }, ...tseslint.configs.recommended];
  const found = new Linter().verify(
    readFileSync(path, 'utf8'),
    config.map((each) => ({ ...each, files: ['**/*.ts'] })),
    'migration.ts',
  );
  return found.map(({ ruleId, message }) => `${String(ruleId)}: ${message}`);
}

/** The key table and its first keys. */
async function keyTable(dataSource: DataSource): Promise<void> {
  await dataSource.synchronize();
}

async function expectRefused(dataSource: DataSource, sql: string): Promise<void> {
  expect((await rejection(dataSource.query(sql))).message).toMatch(/constraint|duplicate/i);
}
