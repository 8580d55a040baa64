import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import type { DataSourceOptions } from 'typeorm';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject, outcomeOf } from '../support/project';
import type { Outcome, Project } from '../support/project';

/** A key file rather than a passphrase, whose derivation would cost each command half a second. */
const KEY_FILE = 'clinic.key';

/** The application under operation: 60 patients, and a module that prints to stdout as many do. */
const ENTITIES = `
const { EntitySchema, DataSource } = require('typeorm');
const { blindIndexColumns, encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');

console.log('loaded by the application');

const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    email: encryptedColumn(),
    ...blindIndexColumns('email', { normalize: 'email' }),
    ssn: encryptedColumn({ nullable: true }),
  },
});

const options = JSON.parse(process.env.TEST_DATABASE);
const dataSource = () =>
  withFieldEncryption(new DataSource({ ...options, entities: [Patient], synchronize: true }), {
    kms: localKms({ keyFile: process.env.TEST_KEY_FILE }),
  });
`;

const SEED = `
const { dataSource } = require('./data-source.js');
(async () => {
  await dataSource.initialize();
  const patients = dataSource.getRepository('Patient');
  for (let id = 1; id <= 60; id++) {
    await patients.insert({ id, email: 'canary.' + id + '@example.org', ssn: id % 3 === 0 ? null : 'canary ' + id });
  }
  if (process.env.TEST_SQL) await dataSource.query(process.env.TEST_SQL);
  await dataSource.destroy();
})();
`;

function writeKeyFile(project: Project, name: string): string {
  const key = randomBytes(32).toString('hex');
  chmodSync(project.write(name, key), 0o600);
  return key;
}

interface StatusDocument {
  keyTable: boolean;
  keys: { id: string; name: string; version: number; state: string }[];
  columns: {
    property: string;
    rows: number;
    nullRows: number;
    keys: { version: number; rows: number }[];
  }[];
  missingTables: string[];
  due: { command: string | null; reason: string }[];
}

jest.setTimeout(120_000);

describeDiagonal('field-encryption', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(() => {
    project = createProject(typeormMajor);
    writeKeyFile(project, KEY_FILE);
    project.write('data-source.js', `${ENTITIES}\nexports.dataSource = dataSource();`);
    project.write('seed.js', SEED);
  });
  beforeEach(async () => {
    database = await kind.create();
  });
  afterEach(() => database.dispose());
  afterAll(() => {
    project.dispose();
  });

  function environment(extra: Record<string, string> = {}): Record<string, string> {
    const options: DataSourceOptions = database.dataSourceOptions;
    return { TEST_DATABASE: JSON.stringify(options), TEST_KEY_FILE: KEY_FILE, ...extra };
  }

  function run(args: string[], env?: Record<string, string>): Promise<Outcome> {
    return project.run('field-encryption', ['-d', 'data-source.js', ...args], environment(env));
  }

  async function runJson<T>(args: string[], env?: Record<string, string>): Promise<T> {
    const { code, stdout, stderr } = await run([...args, '--json'], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'loaded by the application\n' });
    return JSON.parse(stdout) as T;
  }

  async function seed(sql?: string): Promise<void> {
    const env = environment(sql === undefined ? {} : { TEST_SQL: sql });
    expect(await project.run('node', ['seed.js'], env)).toMatchObject({ code: 0, stderr: '' });
  }

  it('has a doctor, whose errors are exit code 1', async () => {
    const ill = await run(['doctor', '--json']);
    expect(ill.code).toBe(1);
    expect(JSON.parse(ill.stdout)).toMatchObject({ ok: false });
    expect(ill.stdout).toContain('"OWN_TABLE_MISSING"');

    await seed();
    const { findings } = await runJson<{ findings: { code: string; level: string }[] }>(['doctor']);
    expect(findings.map(({ level }) => level)).not.toContain('error');
    const { stdout } = await run(['doctor']);
    expect(stdout).toMatch(/^warning APPLICATION_NOT_SET: .+\n {8}\S/m);
  });

  it('creates the key table and the first keys, once, and nothing in a dry run', async () => {
    const created = [
      { purpose: 'data', name: 'default' },
      { purpose: 'index', name: 'index root' },
    ];

    expect(await runJson(['init', '--dry-run'])).toEqual({
      dryRun: true,
      tablesCreated: expect.arrayContaining(['data_keys']) as unknown,
      columnsAdded: [],
      keysCreated: created,
    });
    expect(await runJson(['status'])).toMatchObject({
      backend: expect.stringMatching(/^(native|javascript)$/) as string,
      keyTable: false,
      keys: [],
      missingTables: [expect.stringMatching(/patient$/)],
      due: [{ command: 'init' }, { command: null }],
    });
    expect(await runJson(['init'])).toEqual({
      dryRun: false,
      tablesCreated: expect.arrayContaining(['data_keys']) as unknown,
      columnsAdded: [],
      keysCreated: created,
    });
    expect(await runJson(['init'])).toEqual({
      dryRun: false,
      tablesCreated: [],
      columnsAdded: [],
      keysCreated: [],
    });
    expect(await runJson(['keys', 'list'])).toEqual({
      keys: [expect.objectContaining({ name: 'default', version: 1, state: 'active' })],
    });
  });

  it('looks without creating keys', async () => {
    await runJson(['init']);
    await seed('DELETE FROM data_keys');

    const { due } = await runJson<StatusDocument>(['status']);
    expect(due).toContainEqual({
      command: 'keys restore <file>',
      reason: expect.stringContaining('the data key "default" is gone') as string,
    });
    expect(due.map(({ command }) => command)).not.toContain('init');
    expect(await runJson(['keys', 'list'])).toEqual({ keys: [] });
  });

  it('rotates, says what is due, re-encrypts, and then has nothing due', async () => {
    await seed();
    const before = await runJson<StatusDocument>(['status']);
    expect(before.due).toEqual([]);

    const dry = await runJson<{ key: object }>(['keys', 'rotate', '--dry-run']);
    expect(dry.key).toEqual({ name: 'default', version: 2 });
    expect(await runJson(['keys', 'rotate', 'default'])).toMatchObject({
      key: { version: 2, state: 'active' },
      previous: { id: before.keys[0]?.id, state: 'deactivated' },
    });

    const { due } = await runJson<StatusDocument>(['status']);
    expect(due).toEqual([
      { command: 'data reencrypt', reason: '100 values under an older data key' },
    ]);
    const counts = {
      scanned: 60,
      changed: 60,
      skipped: 0,
      conflicts: 0,
      failed: 0,
      aborted: false,
    };
    expect(await run(['data', 'reencrypt', '--report', 'no-folder/report.json'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('There is no folder no-folder'),
    });
    expect(await runJson(['data', 'reencrypt', '--dry-run'])).toMatchObject({
      dryRun: true,
      ...counts,
    });
    expect(
      await runJson(['data', 'reencrypt', '--batch-size', '7', '--entity', 'Patient']),
    ).toMatchObject({
      dryRun: false,
      ...counts,
    });

    const after = await runJson<StatusDocument>(['status']);
    expect(after.due).toEqual([]);
    expect(after.columns).toEqual([
      expect.objectContaining({
        property: 'email',
        rows: 60,
        nullRows: 0,
        keys: [expect.objectContaining({ version: 2, rows: 60 })],
      }),
      expect.objectContaining({
        property: 'ssn',
        rows: 60,
        nullRows: 20,
        keys: [expect.objectContaining({ version: 2, rows: 40 })],
      }),
    ]);
  });

  it('prints tables for people and plain progress lines where there is no terminal', async () => {
    await seed();
    await run(['keys', 'rotate']);

    const shown = await run(['status']);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/^Patient\.ssn +60 +20 +0 +default v1: 40$/m);
    expect(shown.stdout).toMatch(
      /^- 100 values under an older data key\. Run:\n {2}npx field-encryption -d \S+ data reencrypt$/m,
    );
    const { code, stdout, stderr } = await run(['data', 'reencrypt']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/60 rows re-encrypted in \d+\.\d s: 60 read, 0 needed nothing/);
    expect(stderr).toMatch(
      /^(?:Patient: \d+ of 60 rows in all tables(?:, .*)?\n)*Patient: 60 of 60 rows in all tables(?:, [\d,]+ rows\/s, 0 s left)?\n$/,
    );
  });

  it('lists the rows that failed, moves the others, and exits with 1', async () => {
    await seed();
    await runJson(['keys', 'rotate']);
    // A ciphertext of another column does not open in this one.
    await seedSql('UPDATE patient SET ssn = email WHERE id = 10');

    const { code, stdout } = await run(['data', 'reencrypt', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      changed: 59,
      failed: 1,
      failures: [{ entity: 'Patient', property: 'ssn', primaryKey: [10], code: 'ERR_DECRYPTION' }],
    });
    const again = await run(['data', 'reencrypt']);
    expect(again.code).toBe(1);
    expect(again.stdout).toContain('Patient 10: ssn: ERR_DECRYPTION');
  });

  async function seedSql(sql: string): Promise<void> {
    project.write(
      'sql.js',
      `const { dataSource } = require('./data-source.js');
       dataSource.initialize().then(() => dataSource.query(${JSON.stringify(sql)})).then(() => dataSource.destroy());`,
    );
    expect(await project.run('node', ['sql.js'], environment())).toMatchObject({
      code: 0,
      stderr: '',
    });
  }

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'finishes the page under way on %s and exits with 130; a later run does the rest',
    async (signal) => {
      await seed();
      await runJson(['keys', 'rotate']);
      // The module interrupts its own process when the first page is written, so no clock is involved.
      project.write(
        'interrupted.js',
        `${ENTITIES}
        // Once: whoever wraps a connection's method keeps this one, however often the prototype changes.
        let interrupted = false;
        const interruptAt = (drivers, method) => {
          const original = drivers.prototype[method];
          drivers.prototype[method] = function (sql, ...rest) {
            if (!interrupted && /UPDATE ["\x60]patient/.test(sql.sql ?? sql)) {
              interrupted = true;
              process.kill(process.pid, '${signal}');
            }
            return original.call(this, sql, ...rest);
          };
        };
        interruptAt(require('pg').Client, 'query');
        interruptAt(require('mysql2').Connection, 'query');
        interruptAt(require('better-sqlite3'), 'prepare');
        interruptAt(require('sqlite3').Database, 'run');
        const wrapped = dataSource();
        exports.dataSource = wrapped;`,
      );
      const { code, stdout, stderr } = await project.run(
        'field-encryption',
        ['-d', 'interrupted.js', 'data', 'reencrypt', '--batch-size', '5', '--json'],
        environment(),
      );
      expect({ code, stdout, stderr }).toEqual({
        code: 130,
        stdout: expect.stringMatching(/^\{/) as string,
        stderr: expect.not.stringContaining('Interrupted again') as string,
      });
      const report = JSON.parse(stdout) as { changed: number; aborted: boolean };
      expect(report).toMatchObject({ aborted: true, changed: report.changed });
      expect(report.changed).toBeGreaterThan(0);
      expect(report.changed).toBeLessThan(60);
      expect(await runJson(['data', 'reencrypt'])).toMatchObject({
        changed: 60 - report.changed,
        skipped: report.changed,
      });
    },
  );

  it('names a wrong key file by code, with the remedy and no stack, on stderr', async () => {
    await runJson(['init']);
    const env = { TEST_KEY_FILE: 'wrong.key' };
    const wrongKey = writeKeyFile(project, env.TEST_KEY_FILE);

    const { code, stdout, stderr } = await run(['init'], env);
    expect(code).toBe(1);
    expect(stdout).toBe('loaded by the application\n');
    expect(stderr).toMatch(/^error ERR_KEY_UNWRAP: .*\n.*\n$/);
    const json = await run(['init', '--json'], env);
    expect(json).toMatchObject({ code: 1, stdout: '' });
    expect(json.stderr).toContain('"code": "ERR_KEY_UNWRAP"');
    const verbose = await run(['init', '--verbose'], env);
    expect(verbose.stderr).toMatch(/\n {4}at /);
    for (const text of [stderr, json.stderr, verbose.stderr]) {
      expect(text).not.toContain(wrongKey);
    }
  });

  it('needs no KMS to show status and keys', async () => {
    await seed();
    const { keys } = await runJson<StatusDocument>(['status'], { TEST_KEY_FILE: 'missing.key' });
    expect(keys).toHaveLength(1);
  });
});

describe('field-encryption without a database', () => {
  let project: Project;

  beforeAll(() => {
    project = createProject(typeormMajor);
    writeKeyFile(project, KEY_FILE);
  });
  afterAll(() => {
    project.dispose();
  });

  const env = {
    TEST_DATABASE: JSON.stringify({ type: 'better-sqlite3', database: ':memory:' }),
    TEST_KEY_FILE: KEY_FILE,
  };
  const run = (args: string[], extra = {}): Promise<Outcome> =>
    project.run('field-encryption', args, { ...env, ...extra });

  it.each([
    ['a default export', 'a.js', `${ENTITIES} exports.default = dataSource();`],
    ['the module itself', 'b.js', `${ENTITIES} module.exports = dataSource();`],
    ['a promise', 'c.js', `${ENTITIES} exports.AppDataSource = Promise.resolve(dataSource());`],
    ['a .cjs file', 'd.cjs', `${ENTITIES} exports.ds = exports.default = dataSource();`],
    [
      'an ES module',
      'e.mjs',
      `import { createRequire } from 'node:module';
       import { fieldEncryption } from 'typeorm-field-encryption';
       const require = createRequire(import.meta.url);
       ${ENTITIES}
       export const unrelated = { a: 1 };
       export default await Promise.resolve(dataSource());`,
    ],
    [
      'an initialized DataSource',
      'f.mjs',
      `import { createRequire } from 'node:module';
       const require = createRequire(import.meta.url);
       ${ENTITIES}
       export const source = await dataSource().initialize();`,
    ],
  ])('takes a DataSource from %s', async (_, file, content) => {
    project.write(file, content);
    const { code, stdout } = await run(['status', '-d', file, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toHaveProperty('due');
  });

  it.each(['--require ts-node/register/transpile-only', '--import tsx'])(
    'takes a DataSource from TypeScript under NODE_OPTIONS=%s, and names the loaders without',
    async (loader) => {
      project.write(
        'tsconfig.json',
        '{ "compilerOptions": { "module": "commonjs", "target": "es2022" } }',
      );
      project.write(
        'source.ts',
        `declare const require: (id: string) => any;
         ${ENTITIES.replace('() =>\n', '(): object =>\n')}
         export const typed: object = dataSource();`,
      );
      const { code } = await run(['-d', 'source.ts', 'status'], { NODE_OPTIONS: loader });
      expect(code).toBe(0);
      const bare = await run(['-d', 'source.ts', 'status']);
      expect(bare.code).toBe(2);
      expect(bare.stderr).toContain("NODE_OPTIONS='--require ts-node/register'");
    },
  );

  it('says what to do about a DataSource that did not go through withFieldEncryption', async () => {
    project.write(
      'plain.js',
      `const { DataSource } = require('typeorm');
       exports.plain = new DataSource({ type: 'better-sqlite3', database: ':memory:' });`,
    );
    const { code, stdout, stderr } = await run(['-d', 'plain.js', 'status']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      /^error ERR_DATA_SOURCE: .*plain.js.*plain.* did not go through withFieldEncryption/,
    );
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['-d', 'a.js', 'frobnicate']],
    ['an unknown option', ['-d', 'a.js', 'status', '--frobnicate']],
    ['no -d', ['status']],
    ['a missing module', ['-d', 'missing.js', 'status']],
    ['a module without a DataSource', ['-d', 'empty.js', 'status']],
    ['several DataSources', ['-d', 'several.js', 'status']],
    ['an unknown key', ['-d', 'rotate.js', 'keys', 'rotate', 'defualt']],
    ['an unknown entity', ['-d', 'rotate.js', 'data', 'reencrypt', '--entity', 'Nobody']],
    ['a batch of no rows', ['-d', 'rotate.js', 'data', 'reencrypt', '--batch-size', '0']],
  ])('exits with 2 for %s', async (_, args) => {
    project.write('empty.js', 'exports.nothing = 1;');
    project.write('several.js', `${ENTITIES} exports.a = dataSource(); exports.b = dataSource();`);
    project.write('rotate.js', `${ENTITIES} exports.a = dataSource().initialize();`);

    const { code, stderr } = await run([...args, '--json']);
    expect(code).toBe(2);
    const document = stderr.slice(stderr.indexOf('{'));
    expect(JSON.parse(document)).toEqual({
      error: {
        code: expect.stringMatching(/^ERR_/),
        message: expect.any(String),
        remedy: expect.any(String),
      },
    });
  });

  it('passes on what the module throws, without credentials', async () => {
    project.write(
      'throws.js',
      `throw new Error('cannot reach postgres://admin:canary@db.example.org/clinic');`,
    );
    const { code, stderr } = await run(['-d', 'throws.js', 'status', '--verbose']);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot reach postgres://[redacted]@db.example.org/clinic');
    expect(stderr).not.toContain('canary');
  });

  it('shows help on stdout and exits with 0', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const command of ['init', 'status', 'keys', 'data']) expect(stdout).toContain(command);
  });

  it('ends at once on a second signal', async () => {
    project.write(
      'stuck.js',
      `${ENTITIES}
      const wrapped = dataSource();
      wrapped.setOptions({ synchronize: true });
      const initialized = wrapped.initialize().then(async () => {
        const patients = wrapped.getRepository('Patient');
        await patients.insert({ id: 1, email: 'a@example.org', ssn: null });
        const Database = require('better-sqlite3');
        const prepare = Database.prototype.prepare;
        Database.prototype.prepare = function (sql) {
          if (!/ORDER BY \\S*"id/.test(sql)) return prepare.call(this, sql);
          process.stderr.write('reading');
          setInterval(() => undefined, 1000);
          return { all: () => new Promise(() => undefined) };
        };
        return wrapped;
      });
      exports.dataSource = initialized;`,
    );
    const child = project.start('field-encryption', ['-d', 'stuck.js', 'data', 'verify'], env);
    const ended = outcomeOf(child);
    await said(child, 'reading');
    child.kill('SIGINT');
    await said(child, 'Interrupted: finishing the page under way.');
    child.kill('SIGINT');
    expect((await ended).code).toBe(130);
  });

  async function said(child: ReturnType<Project['start']>, text: string): Promise<void> {
    let heard = '';
    while (!heard.includes(text)) {
      const [data] = (await once(child.stderr, 'data')) as [Buffer];
      heard += String(data);
    }
  }
});
