import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import type { DataSourceOptions } from 'typeorm';

import { spread } from './test-matrix';

/** Options of a DataSource that do not depend on the database. */
export type CommonOptions = Partial<
  Pick<
    DataSourceOptions,
    'entities' | 'logger' | 'logging' | 'migrations' | 'poolSize' | 'subscribers' | 'synchronize'
  >
>;

export interface TestDatabase {
  /** For `new DataSource(...)`; holds the options given to create(). */
  dataSourceOptions: DataSourceOptions;
  /** Removes the database. Destroy the DataSource first. */
  dispose(): Promise<void>;
}

export interface DatabaseKind {
  /** 'better-sqlite3', 'sqlite3' or 'postgres'. */
  name: string;
  type: 'better-sqlite3' | 'sqlite' | 'postgres';
  /** Why tests cannot run on it here; undefined when they can. */
  unavailable: string | undefined;
  /**
   * A fresh, empty database.
   *
   * @throws Error with the reason when the database is unavailable.
   */
  create(options?: CommonOptions): Promise<TestDatabase>;
}

/** Major of the TypeORM under test: the Jest projects typeorm-1 and typeorm-0.3 differ in it. */
export const typeormMajor: 0 | 1 = readTypeormVersion().startsWith('0.') ? 0 : 1;

function readTypeormVersion(): string {
  const manifest = join(dirname(require.resolve('typeorm')), 'package.json');
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

const betterSqlite3: DatabaseKind = {
  name: 'better-sqlite3',
  type: 'better-sqlite3',
  unavailable: undefined,
  create: (options) => createSqliteFile('better-sqlite3', options),
};

/** TypeORM 1.0 dropped the driver of this name. */
const sqlite3: DatabaseKind = {
  name: 'sqlite3',
  type: 'sqlite',
  unavailable: undefined,
  create: (options) => createSqliteFile('sqlite', options),
};

const postgres: DatabaseKind = {
  name: 'postgres',
  type: 'postgres',
  unavailable: process.env.FIELD_ENCRYPTION_TEST_PG_URL
    ? undefined
    : (process.env.FIELD_ENCRYPTION_TEST_PG_UNAVAILABLE ?? 'the Jest project has no global set-up'),
  create: createPostgresDatabase,
};

/** Every database that the TypeORM under test can be tried on. */
export const DATABASES: readonly DatabaseKind[] =
  typeormMajor === 0 ? [betterSqlite3, sqlite3, postgres] : [betterSqlite3, postgres];

/** What is tried with each major, from `npm test` over `TEST_MATRIX=all` to `TEST_MATRIX=each`. */
type Spread = Record<'one' | 'all' | 'each', readonly DatabaseKind[]>;

/** Each database with TypeORM 1, and fewer with 0.3. */
const EACH: Spread = byMajor(
  { one: [betterSqlite3, postgres], all: DATABASES, each: DATABASES },
  { one: [postgres], all: [sqlite3, postgres], each: DATABASES },
);

/** Each database for one of the majors; SQLite by the driver that 0.3 alone has. */
const DIAGONAL: Spread = byMajor(
  { one: [postgres], all: [postgres], each: DATABASES },
  { one: [], all: [sqlite3], each: [sqlite3, postgres] },
);

function byMajor(one: Spread, zero: Spread): Spread {
  return typeormMajor === 0 ? zero : one;
}

/**
 * {@link describeEachDatabase} for suites in which the major of TypeORM and the database have little to
 * do with each other: each is tried, but not with each.
 */
export function describeDiagonal(title: string, body: (database: DatabaseKind) => void): void {
  describeDatabases(DIAGONAL[spread], title, body);
}

/**
 * `describe` once for each database. One that cannot run here is reported as skipped, with the
 * reason in its title.
 */
export function describeEachDatabase(title: string, body: (database: DatabaseKind) => void): void {
  describeDatabases(EACH[spread], title, body);
}

function describeDatabases(
  databases: readonly DatabaseKind[],
  title: string,
  body: (database: DatabaseKind) => void,
): void {
  for (const database of databases) {
    if (database.unavailable === undefined) {
      describe(`${title} (${database.name})`, () => {
        body(database);
      });
    } else {
      describe.skip(`${title} (${database.name}) cannot run: ${database.unavailable}`, () => {
        body(database);
      });
    }
  }
}

function createSqliteFile(
  type: 'better-sqlite3' | 'sqlite',
  options: CommonOptions = {},
): Promise<TestDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'field-encryption-sqlite-'));
  // SQLite lets whoever polls at the right moment go first: on a busy machine a writer may wait long.
  // better-sqlite3 blocks its thread while it waits, and may wait for a connection of that thread.
  const wait = type === 'sqlite' ? { busyTimeout: 30_000 } : {};
  const dataSourceOptions = { ...options, ...wait, type, database: join(folder, 'test.db') };
  return Promise.resolve({
    // The types of TypeORM 1 no longer know 'sqlite'.
    dataSourceOptions: dataSourceOptions as unknown as DataSourceOptions,
    dispose: () => {
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    },
  });
}

async function createPostgresDatabase(options: CommonOptions = {}): Promise<TestDatabase> {
  if (postgres.unavailable !== undefined) {
    throw new Error(`No PostgreSQL to test on: ${postgres.unavailable}`);
  }
  const name = `field_encryption_${randomBytes(8).toString('hex')}`;
  await administrate(`CREATE DATABASE ${name}`);
  const url = new URL(serverUrl());
  url.pathname = name;
  return {
    dataSourceOptions: { ...options, type: 'postgres', url: url.href } as DataSourceOptions,
    dispose: () => administrate(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function administrate(statement: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function serverUrl(): string {
  return process.env.FIELD_ENCRYPTION_TEST_PG_URL ?? '';
}
