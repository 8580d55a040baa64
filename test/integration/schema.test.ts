import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { fieldEncryptionMigrations } from '../../migrations';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup } from '../support/protected-database';
import { isWholeMatrix } from '../support/test-matrix';

const DATA_SOURCE = `
require('reflect-metadata');
const { randomBytes } = require('node:crypto');
const { existsSync, writeFileSync } = require('node:fs');
const { DataSource, DefaultNamingStrategy, EntitySchema } = require('typeorm');
const fe = require('typeorm-field-encryption');

class SnakeNaming extends DefaultNamingStrategy {
  tableName(target, given) { return given ?? snake(target); }
  columnName(property, custom, prefixes) { return snake([...prefixes, custom ?? property].join('_')); }
  indexName(table, columns) { return 'ix_' + snake(columns.join('_')); }
  primaryKeyName(table) { return 'pk_' + String(table.name ?? table).split('.').pop(); }
}
const snake = (text) => text.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();

const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true, generated: true },
    fullName: { type: String },
    emailAddress: fe.encryptedColumn(),
    ...fe.blindIndexColumns('emailAddress', { normalize: 'email', unique: true }, { name: 'short', bits: 8 }),
    bornOn: fe.encryptedColumn({ type: 'date', nullable: true }),
    history: fe.encryptedColumn({ type: 'json', nullable: true }),
    scan: fe.encryptedColumn({ type: 'bytes', storage: 'binary', nullable: true }),
    code: fe.encryptedColumn({ length: 120, nullable: true }),
  },
});

const settings = JSON.parse(process.env.SETTINGS);
const fail = async () => { throw new Error('connect ECONNREFUSED'); };
const unreachable = { name: 'local', wrapKey: fail, unwrapKey: fail, health: async () => ({ ok: false }) };
if (process.env.KEY_FILE && !existsSync(process.env.KEY_FILE)) {
  writeFileSync(process.env.KEY_FILE, randomBytes(32), { mode: 0o600 });
}
const real = process.env.KEY_FILE && fe.localKms({ keyFile: process.env.KEY_FILE });
const state = { up: real !== undefined && process.env.KMS !== 'switch' };
const kms = real === undefined ? unreachable : {
  name: 'local',
  wrapKey: (...a) => (state.up ? real.wrapKey(...a) : fail()),
  unwrapKey: (...a) => (state.up ? real.unwrapKey(...a) : fail()),
  health: () => real.health(),
};

const dataSource = fe.withFieldEncryption(new DataSource({
  ...settings.database,
  ...(settings.snake ? { namingStrategy: new SnakeNaming() } : {}),
  entities: [Patient],
  migrations: [
    ...(settings.ours ? fe.fieldEncryptionMigrations : []),
    __dirname + '/migrations-' + settings.run + '/*.js',
  ],
}), { kms });
module.exports = { dataSource };
module.exports.state = state;
Object.defineProperty(module.exports, 'state', { enumerable: false });
`;

const USE = `
const { dataSource } = require('./data-source.js');
const { fieldEncryption } = require('typeorm-field-encryption');
(async () => {
  await dataSource.initialize();
  const patients = dataSource.getRepository('Patient');
  await patients.save({ fullName: 'Ada', emailAddress: 'Ada@Example.org', bornOn: new Date(0), history: [1], scan: Buffer.from('x'), code: 'c' });
  const found = await patients.findOneByOrFail({ emailAddress: 'ada@example.ORG' });
  await fieldEncryption(dataSource).keys.rotate();
  const report = await fieldEncryption(dataSource).reencrypt();
  console.log('USED ' + JSON.stringify({ name: found.fullName, born: found.bornOn, changed: report.changed }));
  await dataSource.destroy();
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

/** Uses the entity before there are tables, without a KMS, and again when both are there. */
const LATER = `
const { dataSource, ...rest } = require('./data-source.js');
const { state } = require('./data-source.js');
const { fieldEncryption } = require('typeorm-field-encryption');
const attempt = async (work) => { try { await work(); return 'done'; } catch (e) { return e.code + ' ' + e.retryable + ' ' + e.message; } };
(async () => {
  const said = {};
  await dataSource.initialize();
  const patients = dataSource.getRepository('Patient');
  const save = (n) => patients.insert({ fullName: 'Ada', emailAddress: n + '@example.org' });
  said.noTables = await attempt(() => save(1));
  said.readyNoTables = await attempt(() => fieldEncryption(dataSource).ready());
  said.rotateNoTables = await attempt(() => fieldEncryption(dataSource).keys.rotate());
  said.lookupNoTables = await attempt(() => patients.findOneBy({ emailAddress: 'x@example.org' }));
  await dataSource.synchronize();
  said.noKms = await attempt(() => save(2));
  said.readyNoKms = await attempt(() => fieldEncryption(dataSource).ready());
  said.lookupNoKms = await attempt(() => patients.findOneBy({ emailAddress: 'x@example.org' }));
  said.countNoKms = await attempt(() => patients.count());
  said.rowsNoKms = await patients.count();
  state.up = true;
  // A failure is remembered for a second.
  await new Promise((resolve) => setTimeout(resolve, 1100));
  said.later = await attempt(() => save(3));
  said.found = (await patients.findOneBy({ emailAddress: '3@EXAMPLE.org' }))?.emailAddress;
  console.log('SAID ' + JSON.stringify(said));
  await dataSource.destroy();
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

/** What the command `typeorm` does once it has read its arguments; most of its time goes into being loaded. */
const COMMAND = `
const [command, dataSource, path] = process.argv.slice(2);
const name = command.replace(/(^|:)([a-z])/g, (_, colon, letter) => letter.toUpperCase()) + 'Command';
const { [name]: Command } = require('typeorm/commands/' + name + '.js');
void new Command().handler({ dataSource, path, outputJs: true });
`;

interface Variant {
  readonly title: string;
  readonly ours?: boolean;
  readonly snake?: boolean;
  readonly options?: Record<string, unknown>;
  readonly prefix?: string;
}

const VARIANTS: readonly Variant[] = [
  { title: 'without fieldEncryptionMigrations' },
  { title: 'with fieldEncryptionMigrations', ours: true },
  { title: 'with an entity prefix', ours: true, options: { entityPrefix: 'app_' }, prefix: 'app_' },
  { title: 'with a snake-case naming strategy', ours: true, snake: true },
  { title: 'with a snake-case naming strategy and without fieldEncryptionMigrations', snake: true },
];

/** Names have nothing to do with the database, and each variant takes many processes. */
function namings(variants: readonly Variant[]): readonly Variant[] {
  return isWholeMatrix ? variants : variants.slice(1, 3);
}

let project: Project;
const keys = mkdtempSync(join(tmpdir(), 'field-encryption-cli-key-'));
let run = 0;

beforeAll(() => {
  project = createProject(typeormMajor);
  project.write('data-source.js', DATA_SOURCE);
  project.write('use.js', USE);
  project.write('later.js', LATER);
  project.write('command.js', COMMAND);
});

afterAll(() => {
  project.dispose();
  rmSync(keys, { recursive: true, force: true });
});

/** SQL for the names of all tables. */
const TABLES = {
  sqlite: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
  postgres: `SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`,
  mysql: 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
};

/** SQL for the definitions of the indexes of the key table. */
const INDEXES = {
  sqlite: `SELECT sql AS text FROM sqlite_master WHERE type = 'index' AND tbl_name LIKE '%data_keys'`,
  postgres: `SELECT indexdef AS text FROM pg_indexes WHERE tablename LIKE '%data_keys'`,
  mysql: `SELECT CONCAT(IF(MIN(non_unique) = 0, 'UNIQUE (', '('),
      GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', '), ')') AS text
    FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name LIKE '%data_keys' GROUP BY index_name`,
};

describeDiagonal('The TypeORM CLI with a wrapped DataSource and no KMS', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind);
    run += 1;
  });
  afterEach(() => cleanup.run());

  const variants: readonly Variant[] =
    kind.type === 'postgres'
      ? [
          { title: 'with a schema', ours: true, options: { schema: 'clinic' } },
          ...namings(VARIANTS),
        ]
      : VARIANTS.slice(0, 2);

  function environment(
    variant: Variant,
    extra: Record<string, string> = {},
  ): Record<string, string> {
    const settings = {
      run,
      ours: variant.ours,
      snake: variant.snake,
      database: { ...database.dataSourceOptions, ...variant.options },
    };
    return { SETTINGS: JSON.stringify(settings), ...extra };
  }

  async function sql(statement: string): Promise<Record<string, unknown>[]> {
    const dataSource = await new DataSource(database.dataSourceOptions).initialize();
    try {
      return await dataSource.query<Record<string, unknown>[]>(statement);
    } finally {
      await dataSource.destroy();
    }
  }

  async function prepareSchema({ options }: Variant): Promise<void> {
    if (options?.['schema'] !== undefined) await sql('CREATE SCHEMA clinic');
  }

  async function tables(): Promise<string[]> {
    const rows = await sql(TABLES[kind.dialect]);
    return rows.map(({ name }) => String(name).replace(/^public\./, '')).sort();
  }

  async function keyIndexes(): Promise<string> {
    const rows = await sql(INDEXES[kind.dialect]);
    return rows.map(({ text }) => String(text)).join('\n');
  }

  const migrationFolder = (): string => join(project.folder, `migrations-${String(run)}`);
  const generated = (): string[] => {
    try {
      return readdirSync(migrationFolder());
    } catch {
      return [];
    }
  };

  const dataSource = (): string => join(project.folder, 'data-source.js');
  const cli = (variant: Variant, command: string, path?: string) =>
    project.run(
      'node',
      ['command.js', command, dataSource(), ...(path === undefined ? [] : [path])],
      environment(variant),
    );
  const realCli = (variant: Variant, ...args: string[]) =>
    project.run('typeorm', [...args, '-d', dataSource()], environment(variant));

  async function expectRightSchema({ prefix = '', options }: Variant): Promise<void> {
    const schema = options?.['schema'] === undefined ? '' : 'clinic.';
    expect(await tables()).toEqual(
      expect.arrayContaining([`${schema}${prefix}data_keys`, `${schema}${prefix}patient`]),
    );
    const oneActive =
      kind.dialect === 'mysql'
        ? /UNIQUE \(purpose, name, data_keys_one_active\)/
        : /UNIQUE.*\(\s*"?purpose"?, "?name"?\s*\) WHERE/i;
    expect(await keyIndexes()).toMatch(oneActive);
    expect(await keyIndexes()).toMatch(/UNIQUE.*"?purpose"?, "?name"?, "?version"?/i);
  }

  async function expectUsable(variant: Variant): Promise<void> {
    const keyFile = join(keys, String(run));
    const used = await project.run('node', ['use.js'], environment(variant, { KEY_FILE: keyFile }));
    expect(used).toMatchObject({ code: 0 });
    expect(used.output).toContain(
      'USED {"name":"Ada","born":"1970-01-01T00:00:00.000Z","changed":1}',
    );
  }

  it.each(variants)(
    'generates and runs migrations from nothing $title',
    async (variant) => {
      await prepareSchema(variant);
      const path = join(migrationFolder(), 'Init');

      const generate = await cli(variant, 'migration:generate', path);
      expect(generate).toMatchObject({ code: 0 });
      expect(generated()).toHaveLength(1);

      const migrate = await cli(variant, 'migration:run');
      expect(migrate).toMatchObject({ code: 0 });
      await expectRightSchema(variant);

      const again = await cli(variant, 'migration:generate', join(migrationFolder(), 'Again'));
      expect(again.output).toMatch(/No changes in database schema were found/);
      expect(generated()).toHaveLength(1);
      const check = await cli(variant, 'schema:log');
      expect(check.output).toMatch(/up to date/);

      await expectUsable(variant);

      // A generated migration is the application's own; ours knows what it would destroy.
      if (variant.ours !== true) return;
      for (let reverted = 0; reverted < 5; reverted += 1) {
        expect(await cli(variant, 'migration:revert')).toMatchObject({ code: 0 });
      }
      const epochs = await cli(variant, 'migration:revert');
      expect(epochs.code).toBe(1);
      expect(epochs.output).toMatch(/holds 4 keys with an epoch/);
      await sql(`UPDATE ${await tableNamed('data_keys')} SET epoch = 0`);
      expect(await cli(variant, 'migration:revert')).toMatchObject({ code: 0 });
      const log = await cli(variant, 'migration:revert');
      expect(log).toMatchObject({
        code: 1,
        output: expect.stringMatching(/holds \d+ entries/) as string,
      });
      await sql(`DELETE FROM ${await tableNamed('field_encryption_audit')}`);
      await revertAllButKeys(variant);
      const refused = await cli(variant, 'migration:revert');
      expect(refused.code).toBe(1);
      expect(refused.output).toMatch(/holds 4 keys/);
      expect((await tables()).join()).toContain('data_keys');
    },
    120_000,
  );

  async function tableNamed(end: string): Promise<string> {
    return (await tables()).find((name) => name.endsWith(end)) ?? '';
  }

  /** The key table is the first of the library's own; the last three are reverted already. */
  async function revertAllButKeys(variant: Variant): Promise<void> {
    for (let left = fieldEncryptionMigrations.length - 5; left > 1; left--) {
      expect(await cli(variant, 'migration:revert')).toMatchObject({ code: 0 });
    }
  }

  it.each(variants)(
    'synchronizes the schema $title',
    async (variant) => {
      await prepareSchema(variant);
      expect(await cli(variant, 'schema:sync')).toMatchObject({ code: 0 });
      await expectRightSchema(variant);
      expect((await cli(variant, 'schema:log')).output).toMatch(/up to date/);
      await expectUsable(variant);
      expect(await cli(variant, 'schema:sync')).toMatchObject({ code: 0 });
      expect((await cli(variant, 'schema:log')).output).toMatch(/up to date/);
    },
    120_000,
  );

  it('can run the migrations of the key table first and generate afterwards, from the command line', async () => {
    const variant: Variant = { title: '', ours: true };
    expect(await realCli(variant, 'migration:run')).toMatchObject({ code: 0 });
    const generate = await realCli(
      variant,
      'migration:generate',
      join(migrationFolder(), 'Init'),
      '-o',
    );
    expect(generate).toMatchObject({ code: 0 });
    expect(await realCli(variant, 'migration:run')).toMatchObject({ code: 0 });
    await expectRightSchema(variant);
    const again = await realCli(
      variant,
      'migration:generate',
      join(migrationFolder(), 'Again'),
      '-o',
    );
    expect(again.output).toMatch(/No changes in database schema were found/);
  }, 60_000);

  it('reverts the key table while it is empty', async () => {
    const variant: Variant = { title: '', ours: true };
    expect(await cli(variant, 'migration:run')).toMatchObject({ code: 0 });
    for (let left = fieldEncryptionMigrations.length; left > 0; left--) {
      expect(await cli(variant, 'migration:revert')).toMatchObject({ code: 0 });
    }
    expect(await tables()).toEqual(['migrations']);
  }, 60_000);

  it('says at the first use what is missing, and works later without a restart', async () => {
    const keyFile = join(keys, String(run));
    const { code, output } = await project.run(
      'node',
      ['later.js'],
      environment({ title: '' }, { KEY_FILE: keyFile, KMS: 'switch' }),
    );
    expect({ code, output }).toMatchObject({ code: 0 });
    const said = JSON.parse(output.slice(output.indexOf('SAID ') + 5)) as Record<string, unknown>;
    const missing =
      /^ERR_CONFIGURATION false .*key table does not exist.*fieldEncryptionMigrations/;
    expect(said['noTables']).toMatch(missing);
    expect(said['rotateNoTables']).toMatch(missing);
    expect(said['lookupNoTables']).toMatch(missing);
    expect(said['readyNoTables']).toMatch(missing);
    const away = /^ERR_KMS_UNAVAILABLE true /;
    expect(said['noKms']).toMatch(away);
    expect(said['readyNoKms']).toMatch(away);
    expect(said['lookupNoKms']).toMatch(away);
    expect(said).toMatchObject({
      countNoKms: 'done',
      rowsNoKms: 0,
      later: 'done',
      found: '3@example.org',
    });
  }, 60_000);
});
