import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { typeormMajor } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

/** The key file's path is the one thing that a module takes from the environment. */
const dataSource = (name: string): string => `
const { EntitySchema, DataSource } = require('typeorm');
const { blindIndexColumns, encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const entity = (name) => new EntitySchema({
  name,
  columns: {
    id: { type: Number, primary: true },
    tenantId: { type: Number, name: 'tenant_id', default: 1 },
    email: encryptedColumn(),
    ...blindIndexColumns('email', { normalize: 'email' }),
  },
});
console.error('loaded ${name}');
exports.dataSource = withFieldEncryption(
  new DataSource({
    type: 'better-sqlite3', database: 'clinic.db', logging: true, synchronize: true,
    entities: [entity('Patient'), entity('Visitor')],
  }),
  { kms: localKms({ keyFile: process.env.KEY_FILE || 'clinic.key' }) },
);
`;

const SEED = `
const { dataSource } = require('./seeded.js');
(async () => {
  await dataSource.initialize();
  for (let id = 1; id <= 4; id++) {
    await dataSource.getRepository('Patient').insert({ id, tenantId: id % 2, email: 'a' + id + '@example.org' });
  }
  await dataSource.destroy();
})();
`;

jest.setTimeout(180_000);

describe('field-encryption in a project', () => {
  let project: Project;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    for (const name of ['flag', 'env', 'file', 'manifest']) {
      project.write(`${name}.js`, dataSource(name));
    }
    project.write('seeded.js', dataSource('seeded'));
    project.write('seed.js', SEED);
    expect((await project.run('node', ['seed.js'])).code).toBe(0);
  });
  afterAll(() => {
    project.dispose();
  });

  const run = (...args: string[]): Promise<Outcome> => project.run('field-encryption', args);
  const manifest = (member: object): string =>
    project.write('package.json', JSON.stringify({ 'field-encryption': member }));
  const remove = (file: string): void => {
    rmSync(join(project.folder, file));
  };

  describe('takes what the command line leaves out', () => {
    const ENV = { FIELD_ENCRYPTION_DATA_SOURCE: 'env.js' };

    beforeEach(() => {
      manifest({ dataSource: 'manifest.js' });
    });
    afterEach(() => {
      manifest({});
    });

    const loaded = async (args: readonly string[], env = {}): Promise<string | undefined> => {
      const { code, stderr } = await project.run(
        'field-encryption',
        ['keys', 'list', ...args],
        env,
      );
      expect(code).toBe(0);
      return /loaded (\w+)/.exec(stderr)?.[1];
    };

    it('from the environment, the file and package.json, in that order', async () => {
      expect(await loaded([])).toBe('manifest');
      const file = project.write('field-encryption.config.js', `exports.dataSource = 'file.js';`);
      expect(await loaded([])).toBe('file');
      expect(await loaded([], ENV)).toBe('env');
      expect(await loaded(['-d', 'flag.js'], ENV)).toBe('flag');
      rmSync(file);
    });

    it.each([
      ['cjs', `module.exports = { dataSource: 'file.js' };`],
      ['mjs', `export default { dataSource: 'file.js' };`],
    ])('from a file of another form: .%s', async (extension, content) => {
      const name = `field-encryption.config.${extension}`;
      project.write(name, content);
      expect(await loaded([])).toBe('file');
      remove(name);
    });

    it('from one in TypeScript, under a loader', async () => {
      const name = 'field-encryption.config.ts';
      project.write(name, `const dataSource: string = 'file.js'; export default { dataSource };`);
      expect(await loaded([], { NODE_OPTIONS: '--import tsx' })).toBe('file');
      remove(name);
    });

    it('from the file that Node.js itself reads the environment from', async () => {
      project.write('.env', 'FIELD_ENCRYPTION_DATA_SOURCE=env.js\nKEY_FILE=clinic.key\n');
      const command = ['--env-file=.env', 'node_modules/.bin/field-encryption', 'keys', 'list'];
      expect(await project.spawn('node', command)).toMatchObject({
        code: 0,
        stderr: expect.stringContaining('loaded env') as string,
      });
    });

    it('and refuses what it does not know, or cannot choose between', async () => {
      manifest({ dataSource: 'manifest.js', yes: true });
      expect(await run('keys', 'list')).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          /"field-encryption" in package.json .*"yes" .*batchSize/,
        ) as string,
      });
      project.write('package.json', '{ "name": "clinic", }');
      expect(await run('keys', 'list')).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('package.json in this folder is not valid JSON') as string,
      });
      manifest({ dataSource: 'manifest.js', batchSize: 0 });
      expect((await run('data', 'reencrypt')).code).toBe(2);
      manifest({});
      for (const extension of ['js', 'cjs']) {
        project.write(`field-encryption.config.${extension}`, `exports.dataSource = 'file.js';`);
      }
      expect(await run('keys', 'list')).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('field-encryption.config.cjs') as string,
      });
      for (const extension of ['js', 'cjs']) remove(`field-encryption.config.${extension}`);
      expect(await run('keys', 'list')).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('FIELD_ENCRYPTION_DATA_SOURCE') as string,
      });
    });
  });

  it('shows what TypeORM logs with --verbose alone', async () => {
    const { stdout } = await run('-d', 'flag.js', 'status');
    expect(stdout).toMatch(/^KEY /);
    expect(stdout).not.toMatch(/SELECT/);
    expect((await run('-d', 'flag.js', 'status', '--verbose')).stdout).toMatch(/SELECT/);
    manifest({ verbose: true });
    expect((await run('-d', 'flag.js', 'status')).stdout).toMatch(/SELECT/);
    manifest({});
    // The doctor judges what the application logs, not what this command does.
    expect((await run('-d', 'flag.js', 'doctor')).stdout).toContain('LOGGER_PRINTS_PARAMETERS');
  });

  it.each<{ options: string[]; env: Record<string, string>; exported: Record<string, string> }>([
    { options: ['--env-file=.env', '--import', 'tsx'], env: {}, exported: {} },
    { options: ['--env-file', '.env'], env: { NODE_OPTIONS: '--import tsx' }, exported: {} },
    { options: [], env: { NODE_OPTIONS: '--import tsx' }, exported: { KEY_FILE: 'clinic.key' } },
  ])(
    'prints a next command that can be copied: node $options, $env',
    async ({ options, env, exported }) => {
      project.write('.env', 'KEY_FILE=clinic.key\n');
      project.write(
        'exacting.ts',
        `if (process.env.KEY_FILE === undefined) throw new Error('KEY_FILE is missing');
         export { dataSource } from './flag';`,
      );
      const program = 'node_modules/.bin/field-encryption';
      const given = options.length === 0 ? [program] : ['node', ...options, program];
      const [command, ...args] = [...given, '-d', 'exacting.ts', 'keys', 'rotate'];
      const rotated = await project.spawn(command, args, { ...env, ...exported });
      const [, next = ''] = /^ {2}(.* data reencrypt)$/m.exec(rotated.stdout) ?? [];
      expect(await project.spawn('bash', ['-c', next], exported)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('4 rows re-encrypted') as string,
      });
    },
  );

  it.each([
    ['--entity', 'Patiant', 'Patient, Visitor'],
    ['--column', 'Patient.mail', 'Patient.email, Visitor.email'],
    ['--first', 'Patiant: id = 1', 'Patient, Visitor'],
    ['--where', 'Patiant: id = 1', 'Patient, Visitor'],
  ])('names what there is after a mistyped %s', async (option, value, known) => {
    const { code, stderr } = await run('-d', 'flag.js', 'data', 'reencrypt', option, value);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining(`Encrypted are: ${known}.`) as string,
    });
  });

  it('runs over the rows of a condition, whose parameters have the types of their columns', async () => {
    await run('-d', 'flag.js', 'keys', 'rotate');
    const where = ['--where', 'Patient: tenant_id + 0 = :tenant', '--param', 'tenant=1'];
    const dry = await run('-d', 'flag.js', 'data', 'reencrypt', ...where, '--dry-run');
    expect(dry.stdout).toContain(
      'Patient: 2 of 2 rows to do\n  only those with tenant_id + 0 = :tenant',
    );
    const { code, stdout } = await run('-d', 'flag.js', 'data', 'reencrypt', ...where, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ scanned: 2, changed: 2, remaining: 0 });
    await run('-d', 'flag.js', 'keys', 'rotate');
    const shared = await project.spawn('field-encryption', [
      ...['-d', 'flag.js', 'data', 'reencrypt', ...where],
      ...['--workers', '2', '--batch-size', '1', '--json'],
    ]);
    expect(shared.code).toBe(0);
    expect(JSON.parse(shared.stdout)).toMatchObject({ changed: 2, remaining: 0 });
    const missing = await run('-d', 'flag.js', 'data', 'reencrypt', '--where', 'Patient: id = :id');
    expect(missing.stderr).toContain('--param id=...');
    for (const wrong of [
      ['--where', 'Patient'],
      ['--param', 'tenant'],
      ['--where', 'Patient: id = 1', 'Patient: id = 2'],
    ]) {
      expect((await run('-d', 'flag.js', 'data', 'verify', ...wrong)).code).toBe(2);
    }
  });

  it('fails on what is due where CI asks for that', async () => {
    await run('-d', 'flag.js', 'keys', 'rotate');
    expect((await run('-d', 'flag.js', 'status')).code).toBe(0);
    expect(await run('-d', 'flag.js', 'status', '--fail-on-due')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('under an older data key') as string,
    });
    expect((await run('-d', 'flag.js', 'data', 'reencrypt')).code).toBe(0);
    expect((await run('-d', 'flag.js', 'status', '--fail-on-due')).code).toBe(0);
  });

  it.each([
    [['status']],
    [['keys', 'list']],
    [['keys', 'adopt', '--dry-run']],
    [['audit', 'list']],
  ])('fits 80 columns: %p', async (args) => {
    const { stdout } = await project.spawn('field-encryption', ['-d', 'flag.js', ...args], {
      COLUMNS: '80',
    });
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });

  it.each([
    [
      'an import without its extension',
      `import { Patient } from './patient';\nexport { Patient };`,
    ],
    ['a decorator', `const d = (): void => undefined;\nexport class A { @d a!: string; }`],
  ])('names the loaders of TypeScript for %s', async (_what, content) => {
    project.write('source.ts', content);
    project.write('patient.ts', 'export class Patient {}');
    const { code, stderr } = await project.spawn('field-encryption', ['-d', 'source.ts', 'status']);
    expect(code).toBe(2);
    expect(stderr).toContain("NODE_OPTIONS='--require ts-node/register'");
    expect(stderr).toContain("NODE_OPTIONS='--import tsx'");
  });

  it('says when a loader leaves out the types that TypeORM reads', async () => {
    project.write(
      'tsconfig.json',
      '{ "compilerOptions": { "experimentalDecorators": true, "emitDecoratorMetadata": true } }',
    );
    project.write(
      'typed.ts',
      `import 'reflect-metadata';
       import { Column, Entity } from 'typeorm';
       @Entity() export class Patient { @Column() name!: string; }`,
    );
    const loader = { NODE_OPTIONS: '--import tsx' };
    const { code, stderr } = await project.run(
      'field-encryption',
      ['-d', 'typed.ts', 'status'],
      loader,
    );
    expect(code).toBe(2);
    expect(stderr).toContain('no decorator metadata');
  });
});
