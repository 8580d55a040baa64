import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DataSource } from 'typeorm';

import { driverPackage } from '../../typeorm/dialect/dialect-of';
import { finding } from '../finding';
import type { Check, Finding } from '../finding';

/** The part of a package's manifest that is read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly peerDependencies: Readonly<Record<string, string>>;
}

const require_ = createRequire(__filename);

/** Reads the manifest of this package. */
export function ownManifest(): Manifest {
  const manifest = manifestAbove(__dirname);
  if (manifest === undefined) throw new Error('the package has lost its package.json');
  return manifest;
}

/** Reads the manifest of a package; `undefined` if it is not installed. */
export function manifestOf(name: string): Manifest | undefined {
  try {
    return manifestAbove(dirname(require_.resolve(name)));
  } catch {
    return undefined;
  }
}

/** Lists the files of all modules that the process has loaded by `require`. */
function loadedFiles(): string[] {
  return Object.keys(require_.cache);
}

/** Finds the nearest manifest with a version: some packages have others beside their code. */
function manifestAbove(folder: string): Manifest | undefined {
  const path = join(folder, 'package.json');
  if (existsSync(path)) {
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
    if (typeof (manifest.version as unknown) === 'string') return manifest;
  }
  const parent = dirname(folder);
  return parent === folder ? undefined : manifestAbove(parent);
}

/** Whether a version is in a range of this package's manifest, such as `^1.2.3 || ^4`. */
export function isInRange(version: string, range: string): boolean {
  return range.split('||').some((caret) => isCompatible(version, caret.trim().replace('^', '')));
}

/** Whether a version is at least the other one; pre-releases count as their release. */
export function isAtLeast(version: string, other: string): boolean {
  const [a, b] = [partsOf(version), partsOf(other)];
  const at = a.findIndex((part, i) => part !== b[i]);
  return at === -1 || (a[at] ?? 0) > (b[at] ?? 0);
}

/** Compares as npm's caret does: up to the first part that is not 0, all must be the same. */
function isCompatible(version: string, wanted: string): boolean {
  const [a, b] = [partsOf(version), partsOf(wanted)];
  const fixed = b.findIndex((part) => part !== 0);
  const same = a.slice(0, fixed + 1).every((part, i) => part === b[i]);
  return same && isAtLeast(version, wanted);
}

function partsOf(version: string): number[] {
  const [release = ''] = version.split(/[-+]/);
  const parts = release.split('.').map(Number);
  return [0, 1, 2].map((i) => parts[i] ?? 0);
}

/** A file that every copy in use has loaded. */
const COPY_OF_LIBRARY = /^(.*)\/dist\/src\/typeorm\/installation\/installation\.js$/;
const COPY_OF_TYPEORM = /^(.*)\/data-source\/DataSource\.js$/;

/** Checks the versions of the packages that this library works with, and that each has one copy. */
export const packages: Check = ({ dataSource, options }) => {
  const sodium = options.suite === 'xchacha20-poly1305' ? ['sodium-native'] : [];
  const installed = ['typeorm', driverPackage(dataSource), ...sodium].flatMap((name) => {
    const version = manifestOf(name)?.version;
    return version === undefined ? [] : [{ name, version }];
  });
  const files = loadedFiles();
  return [
    finding(
      'PACKAGES',
      `${installed.map(({ name, version }) => `${name} ${version}`).join(', ')}.`,
    ),
    ...installed.flatMap(outOfRange),
    ...(sodium.length > 0 && !installed.some(({ name }) => name === 'sodium-native')
      ? [sodiumMissing()]
      : []),
    ...(dataSource instanceof DataSource ? [] : [foreignTypeorm()]),
    ...copies(files),
  ];
};

/** Finds copies of TypeORM and of this library among the loaded files. */
export function copies(files: readonly string[]): Finding[] {
  const found: Finding[] = [];
  const typeorm = foldersOf(files, COPY_OF_TYPEORM);
  if (typeorm.length > 1) {
    found.push(
      finding(
        'TYPEORM_COPIES',
        `The process has loaded ${String(typeorm.length)} copies of TypeORM: ${typeorm.join(', ')}.`,
        'Entities and DataSources of two copies do not know each other. Install one version (npm ls typeorm).',
      ),
    );
  }
  const library = foldersOf(files, COPY_OF_LIBRARY);
  if (library.length > 1) {
    found.push(
      finding(
        'LIBRARY_COPIES',
        `The process has loaded ${String(library.length)} copies of this library: ${library.join(', ')}.`,
        'A DataSource of one copy is unknown to the other. Install one (npm ls typeorm-field-encryption).',
      ),
    );
  }
  return found;
}

function foldersOf(files: readonly string[], file: RegExp): string[] {
  const folders = files.map((path) => file.exec(path.replaceAll('\\', '/'))?.[1]);
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort();
}

function outOfRange({ name, version }: { name: string; version: string }): Finding[] {
  const range = ownManifest().peerDependencies[name];
  if (range === undefined || isInRange(version, range)) return [];
  return [
    finding(
      'PACKAGE_UNSUPPORTED',
      `${name} is ${version}; this library is tested with ${range}.`,
      `Install a version of ${name} in this range.`,
    ),
  ];
}

function sodiumMissing(): Finding {
  return finding(
    'SODIUM_MISSING',
    'sodium-native is not installed: XChaCha20-Poly1305 runs in JavaScript, some 30 times slower.',
    'Run: npm install sodium-native',
  );
}

function foreignTypeorm(): Finding {
  return finding(
    'TYPEORM_FOREIGN',
    'The DataSource comes from another copy of TypeORM than the one this library has loaded.',
    'Install one version of TypeORM (npm ls typeorm).',
  );
}
