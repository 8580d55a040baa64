import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');

/** What an application does, in the words of both module systems. */
export const SCENARIO = `
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
  const suite = process.env.SUITE ?? 'xaes-256-gcm';
  check(fe.withFieldEncryption(dataSource, { kms, suite }) === dataSource, 'returns the same DataSource');
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

export const COMMON_JS = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const fe = require('typeorm-field-encryption');
${SCENARIO}`;

export const ES_MODULE = `
import 'reflect-metadata';
import { DataSource, EntitySchema } from 'typeorm';
import * as fe from 'typeorm-field-encryption';
${SCENARIO}`;

/** An empty project with the packed library, as a package manager would install it. */
export interface PackedProject {
  readonly folder: string;
  /** Where {@link SCENARIO} finds its driver and its database. */
  environment(database: string): NodeJS.ProcessEnv;
  dispose(): void;
}

/** Installs dependencies, the peers of the project and types, and nothing else. */
export function installPacked(
  typeorm: 'typeorm' | 'typeorm-0.3',
  driver: 'better-sqlite3' | 'sqlite',
): PackedProject {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-installed-'));
  const modules = join(folder, 'node_modules');
  const library = join(modules, 'typeorm-field-encryption');
  mkdirSync(library, { recursive: true });
  const tarball = process.env['FIELD_ENCRYPTION_TEST_TARBALL'] ?? '';
  execFileSync('tar', ['-xzf', tarball, '-C', library, '--strip-components=1']);
  const { dependencies } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const peers = ['reflect-metadata', driver === 'sqlite' ? 'sqlite3' : driver];
  for (const name of [...Object.keys(dependencies), ...peers, '@types/node', 'typescript']) {
    mkdirSync(join(modules, name, '..'), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  symlinkSync(join(root, 'node_modules', typeorm), join(modules, 'typeorm'));
  return {
    folder,
    environment: (database) => ({
      ...process.env,
      DRIVER: driver,
      DATABASE: join(folder, database),
      NODE_OPTIONS: '',
    }),
    dispose: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
