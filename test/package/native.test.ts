import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(__dirname, '..', '..');
const SOURCES = [
  'index.cjs',
  'binary.cjs',
  'compile.cjs',
  'install.cjs',
  'binding.gyp',
  'package.json',
];

/** Writes and reads a value, and says what has encrypted it. */
const SCRIPT = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const fe = require('typeorm-field-encryption');
const Note = new EntitySchema({
  name: 'Note',
  columns: { id: { type: Number, primary: true }, text: fe.encryptedColumn() },
});
(async () => {
  const dataSource = fe.withFieldEncryption(
    new DataSource({ type: 'better-sqlite3', database: 'notes.db', entities: [Note], synchronize: true }),
    { kms: fe.localKms({ passphrase: () => 'correct horse battery staple' }) },
  );
  await dataSource.initialize();
  const notes = dataSource.getRepository('Note');
  await notes.save({ id: Number(process.argv[2]), text: 'Ada' });
  const texts = (await notes.find()).map(({ text }) => text);
  console.log((await fe.fieldEncryption(dataSource).status()).backend, new Set(texts).size);
  await dataSource.destroy();
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const NO_COMPILER = { CC: '/nowhere/cc' };

describe('The packed add-on beside the library, in an empty project', () => {
  let folder: string;
  let packages: string;

  /** Packs the add-on, with the binary that stands in `prebuilds` or without. */
  function pack(name: string, binary?: string): string {
    const source = join(packages, name);
    for (const file of SOURCES) cpSync(join(root, 'native', file), join(source, file));
    cpSync(join(root, 'native', 'src'), join(source, 'src'), { recursive: true });
    if (binary !== undefined) {
      const target = join(source, 'prebuilds', `${process.platform}-${process.arch}`);
      mkdirSync(target, { recursive: true });
      for (const suffix of ['', '.sha256']) {
        cpSync(binary + suffix, join(target, `field_encryption.node${suffix}`));
      }
    }
    const [packed] = JSON.parse(
      execFileSync(
        'npm',
        ['pack', source, '--json', '--pack-destination', packages, '--ignore-scripts'],
        {
          encoding: 'utf8',
        },
      ),
    ) as [{ filename: string }];
    const tarball = join(packages, `${name}.tgz`);
    cpSync(join(packages, packed.filename), tarball);
    return tarball;
  }

  /** Installs the add-on as npm does it, and beside it the library. */
  async function install(tarball: string, env: Record<string, string>): Promise<void> {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    writeFileSync(join(folder, 'script.cjs'), SCRIPT);
    const offline = ['--offline', '--no-audit', '--no-fund', '--foreground-scripts'];
    await run('npm', ['install', ...offline, tarball], {
      cwd: folder,
      env: { ...process.env, FIELD_ENCRYPTION_NATIVE: '', ...env },
    });
    const modules = join(folder, 'node_modules');
    const library = join(modules, 'typeorm-field-encryption');
    mkdirSync(library, { recursive: true });
    const unpack = ['-C', library, '--strip-components=1'];
    execFileSync('tar', ['-xzf', process.env['FIELD_ENCRYPTION_TEST_TARBALL'] ?? '', ...unpack]);
    for (const name of [
      ...['@noble', 'class-validator', 'cli-progress', 'cli-table3', 'cockatiel', 'commander'],
      ...['croner', 'shamir-secret-sharing', 'reflect-metadata', 'better-sqlite3', 'typeorm'],
    ]) {
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
    }
  }

  let notes = 0;
  async function backend(env: Record<string, string> = {}): Promise<string> {
    notes += 1;
    const { stdout } = await run(process.execPath, ['script.cjs', String(notes)], {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '', FIELD_ENCRYPTION_NATIVE: '', ...env },
    });
    return stdout.trim();
  }

  beforeAll(() => {
    packages = mkdtempSync(join(tmpdir(), 'field-encryption-packages-'));
  });
  afterAll(() => rmSync(packages, { recursive: true, force: true }));
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-add-on-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  (hasCompiler ? it : it.skip)(
    'is compiled where there is a compiler, and turned off by the environment',
    async () => {
      await install(pack('source'), {});
      expect(await backend()).toBe('native 1');
      // What the one has written the other one reads.
      expect(await backend({ FIELD_ENCRYPTION_NATIVE: '0' })).toBe('javascript 1');
      expect(await backend({ FIELD_ENCRYPTION_NATIVE: '1' })).toBe('native 1');
    },
    120_000,
  );

  (hasCompiler ? it : it.skip)(
    'is the binary that came with it where there is none',
    async () => {
      await install(pack('first'), {});
      const built = join(folder, 'node_modules/typeorm-field-encryption-native/build/Release');
      const tarball = pack('prebuilt', join(built, 'field_encryption.node'));
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
      await install(tarball, NO_COMPILER);
      expect(await backend()).toBe('native 1');
    },
    120_000,
  );

  it('is left out without an error where there is neither, and JavaScript serves', async () => {
    await install(pack('bare'), NO_COMPILER);
    expect(await backend()).toBe('javascript 1');
    await expect(backend({ FIELD_ENCRYPTION_NATIVE: '1' })).rejects.toMatchObject({
      stderr: expect.stringMatching(
        /ConfigurationError.*has no binary for.*npm rebuild/s,
      ) as unknown,
    });
  }, 120_000);
});
