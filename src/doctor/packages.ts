import { DataSource } from 'typeorm';
import type { Check } from './check';
import type { Finding } from './finding';
import { finding } from './finding';
import { loadedFiles, manifestOf, ownManifest } from './manifest';
import { isInRange } from './version-range';

/** Drivers by TypeORM's name of the database. */
const DRIVERS: Readonly<Record<string, string>> = {
  'better-sqlite3': 'better-sqlite3',
  postgres: 'pg',
  sqlite: 'sqlite3',
};

/** A file that every copy has loaded that is in use. */
const COPY_OF_LIBRARY = /^(.*)\/dist\/src\/typeorm\/installation\.js$/;
const COPY_OF_TYPEORM = /^(.*)\/data-source\/DataSource\.js$/;

/** The versions of what this library works with, and whether there is one copy of each. */
export const packages: Check = ({ dataSource, options }) => {
  const driver = DRIVERS[dataSource.options.type] ?? dataSource.options.type;
  const sodium = options.suite === 'xchacha20-poly1305' ? ['sodium-native'] : [];
  const installed = ['typeorm', driver, ...sodium].flatMap((name) => {
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

/** Copies of TypeORM and of this library, by the files that were loaded. */
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
