import { execFile, execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(__dirname, '..', '..');

/** What an application does, in the words of both module systems. */
const SCENARIO = `
async function main() {
  const Patient = new EntitySchema({
    name: 'Patient',
    columns: {
      id: { type: Number, primary: true, generated: true },
      email: fe.encryptedColumn(),
      ...fe.blindIndexColumns('email', { normalize: 'email', unique: true }),
      ssn: fe.encryptedColumn({ nullable: true }),
      history: fe.encryptedColumn({ type: 'json' }),
      bornOn: fe.encryptedColumn({ type: 'date' }),
    },
  });
  const options = { type: process.env.DRIVER, database: process.env.DATABASE, entities: [Patient], synchronize: true };
  const kms = fe.localKms({ passphrase: () => 'correct horse battery staple' });
  const dataSource = new DataSource(options);
  check(fe.withFieldEncryption(dataSource, { kms }) === dataSource, 'returns the same DataSource');
  await dataSource.initialize();
  const patients = dataSource.getRepository('Patient');
  const ada = await patients.save({ email: 'Ada@Example.org', ssn: '078-05-1120', history: [{ a: 1 }], bornOn: new Date(0) });
  check(ada.email === 'Ada@Example.org', 'the entity keeps its plaintext');
  const found = await patients.findOneBy({ email: 'ada@example.ORG' });
  check(found?.ssn === '078-05-1120' && found.bornOn.getTime() === 0 && found.history[0].a === 1, 'found and decrypted');
  const [row] = await dataSource.query('SELECT * FROM patient');
  check(/^[\\w-]{66,}$/.test(row.email) && row.email_bidx.length === 43, 'ciphertext in the table');
  check(!JSON.stringify(row).includes('078-05'), 'no plaintext in the table');

  const handle = fe.fieldEncryption(dataSource);
  check(handle instanceof Object && (await handle.keys.list()).length === 1, 'one key');
  const rotated = await handle.keys.rotate();
  check(rotated.version === 2 && rotated.state === 'active', 'rotated');
  const report = await handle.reencrypt({ batchSize: 10, onProgress() {} });
  check(report.scanned === 1 && report.changed === 1 && report.failed === 0 && report.conflicts === 0 && report.skipped === 0, 're-encrypted');
  const status = await handle.status();
  check(status.every(({ keys, cleartextRows }) => cleartextRows === 0 && keys.length === 1 && keys[0].version === 2), 'status');
  check((await handle.token('Patient', 'email', 'ADA@example.org')) === row.email_bidx, 'token');
  check((await handle.decryptValue('Patient', 'email', row.email)) === 'Ada@Example.org', 'decryptValue');
  const stored = await handle.encryptValue('Patient', 'ssn', 'x');
  const many = await handle.decryptValues('Patient', 'ssn', [stored, 'cleartext']);
  check(many.values[0] === 'x' && many.failures[0].index === 1 && many.failures[0].error instanceof fe.PlaintextFoundError, 'decryptValues');
  check((await handle.encryptValues('Patient', 'ssn', ['a', 5])).failures.length === 1, 'encryptValues');

  const refused = async (work, Class, code) => {
    try { await work(); } catch (error) {
      check(error instanceof Class && error instanceof fe.FieldEncryptionError && error.code === code && typeof error.retryable === 'boolean', code);
      return;
    }
    throw new Error('not refused: ' + code);
  };
  await refused(() => patients.findBy({ ssn: 'x' }), fe.UnsupportedQueryError, 'ERR_UNSUPPORTED_QUERY');
  await refused(() => patients.update({ id: 1 }, { ssn: 5 }), fe.UnsupportedValueError, 'ERR_UNSUPPORTED_VALUE');
  await refused(() => fe.withFieldEncryption(dataSource, { kms }), fe.ConfigurationError, 'ERR_CONFIGURATION');
  await refused(() => fe.fieldEncryption(new DataSource(options)), fe.ConfigurationError, 'ERR_CONFIGURATION');
  await dataSource.destroy();

  const plain = await new DataSource({ ...options, synchronize: false }).initialize();
  await refused(() => plain.getRepository('Patient').find(), fe.ConfigurationError, 'ERR_CONFIGURATION');
  await plain.destroy();

  for (const name of ['ConfigurationError', 'InvalidFieldPolicyError', 'KeyNotFoundError', 'KeyStateError', 'KeyUnwrapError',
    'KmsUnavailableError', 'MalformedCiphertextError', 'DecryptionError', 'PlaintextFoundError', 'UnsupportedQueryError', 'UnsupportedValueError']) {
    check(fe[name].prototype instanceof fe.FieldEncryptionError, name);
  }
  for (const name of ['Encrypted', 'BlindIndex', 'encryptedColumn', 'blindIndexColumns', 'withFieldEncryption', 'fieldEncryption', 'localKms']) {
    check(typeof fe[name] === 'function', name);
  }
  check(fe.fieldEncryptionMigrations.length >= 1 && fe.fieldEncryptionMigrations.every((each) => typeof each === 'function'), 'migrations');
}
const check = (holds, what) => { if (!holds) throw new Error('does not hold: ' + what); };
main().then(() => console.log('ALL CHECKS HOLD'), (error) => { console.error(error); process.exitCode = 1; });
`;

const COMMON_JS = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const fe = require('typeorm-field-encryption');
${SCENARIO}`;

const ES_MODULE = `
import 'reflect-metadata';
import { DataSource, EntitySchema } from 'typeorm';
import * as fe from 'typeorm-field-encryption';
${SCENARIO}`;

/** Declares with one module system, wraps with the other. */
const MIXED = `
import 'reflect-metadata';
import { createRequire } from 'node:module';
import { DataSource, EntitySchema } from 'typeorm';
import * as imported from 'typeorm-field-encryption';
const required = createRequire(import.meta.url)('typeorm-field-encryption');
for (const name of Object.keys(required)) {
  if (imported[name] !== required[name]) throw new Error('two instances of ' + name);
}
const fe = { ...imported, withFieldEncryption: required.withFieldEncryption, localKms: required.localKms };
${SCENARIO}`;

const TYPES = `
import { DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, FieldEncryptionError, localKms, withFieldEncryption } from 'typeorm-field-encryption';
import type { FieldEncryption, FieldEncryptionOptions, KmsProvider, Normalizer } from 'typeorm-field-encryption';
@Entity()
export class Patient {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ type: 'json' }) history!: unknown[];
}
const kms: KmsProvider = localKms({ passphrase: () => process.env['PASSPHRASE'] });
const options: FieldEncryptionOptions = { kms };
export const dataSource: DataSource = withFieldEncryption(
  new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [Patient] }), options);
export const handle: FieldEncryption = fieldEncryption(dataSource);
export const custom: Normalizer = { id: 'x', version: 1, normalize: (value: string) => value };
// @ts-expect-error an unknown type
Encrypted({ type: 'uuid' });
export const isOurs = (error: unknown): boolean => error instanceof FieldEncryptionError && error.retryable;
`;

describe.each([
  ['typeorm 1.x with better-sqlite3', 'typeorm', 'better-sqlite3'],
  ['typeorm 0.3 with sqlite3', 'typeorm-0.3', 'sqlite'],
])('The packed library in an empty project, %s', (_title, typeorm, driver) => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-installed-'));
    const modules = join(folder, 'node_modules');
    const library = join(modules, 'typeorm-field-encryption');
    mkdirSync(library, { recursive: true });
    execFileSync('tar', [
      '-xzf',
      process.env['FIELD_ENCRYPTION_TEST_TARBALL'] ?? '',
      '-C',
      library,
      '--strip-components=1',
    ]);
    // Only what a package manager would install: dependencies, the peers of the project, and types.
    const { dependencies } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const peers = [
      'reflect-metadata',
      driver === 'sqlite' ? 'sqlite3' : driver,
      '@types/node',
      'typescript',
    ];
    for (const name of [...Object.keys(dependencies), ...peers]) {
      mkdirSync(join(modules, name, '..'), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
    symlinkSync(join(root, 'node_modules', typeorm), join(modules, 'typeorm'));
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([
    ['CommonJS', 'commonjs.cjs', COMMON_JS],
    ['ES modules', 'module.mjs', ES_MODULE],
    ['both at once', 'mixed.mjs', MIXED],
  ])(
    'does all that its users are told, from %s',
    async (_how, file, script) => {
      writeFileSync(join(folder, file), script);
      const { stdout } = await run(process.execPath, [file], {
        cwd: folder,
        env: {
          ...process.env,
          DRIVER: driver,
          DATABASE: join(folder, `${file}.db`),
          NODE_OPTIONS: '',
        },
      });
      expect(stdout).toContain('ALL CHECKS HOLD');
    },
    120_000,
  );

  it.each([
    ['CommonJS', 'consumer.cts'],
    ['ES modules', 'consumer.mts'],
  ])(
    'has types for %s',
    async (_how, file) => {
      writeFileSync(join(folder, file), TYPES);
      const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
      const flags = [
        '--noEmit',
        '--strict',
        '--module',
        'nodenext',
        '--target',
        'es2022',
        '--experimentalDecorators',
      ];
      const checked = ['--emitDecoratorMetadata', '--skipLibCheck', '--types', 'node', file];
      await expect(
        run(process.execPath, [compiler, ...flags, ...checked], { cwd: folder }),
      ).resolves.toMatchObject({ stdout: '' });
    },
    120_000,
  );

  it('brings no cloud SDK and no test, and has what its manifest promises', () => {
    const library = join(folder, 'node_modules', 'typeorm-field-encryption');
    const manifest = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      peerDependencies: Record<string, string>;
    };
    const cloud = /aws|azure|google|gcp|vault|pkcs11/i;
    expect(Object.keys(manifest.dependencies).filter((name) => cloud.test(name))).toEqual([]);
    expect(manifest.peerDependencies['typeorm']).toBe('^0.3.20 || ^1.0.0');
    expect(readdirSync(library)).not.toEqual(expect.arrayContaining(['test']));
  });

  it('has the pages and pictures that its README links to, and those that they link to', () => {
    const library = join(folder, 'node_modules', 'typeorm-field-encryption');
    const pages = new Set(['README.md']);
    for (const page of pages) {
      const links = readFileSync(join(library, page), 'utf8').matchAll(/\]\((?!\w+:)([^)#]+)/g);
      for (const [, path = ''] of links) {
        const target = join(dirname(page), path);
        expect([page, target, existsSync(join(library, target))]).toEqual([page, target, true]);
        if (target.endsWith('.md')) pages.add(target);
      }
    }
    expect(pages.size).toBeGreaterThan(20);
  });
});
