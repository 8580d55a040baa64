import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { betterSqlite3, mariadb, postgres, sqlite3 } from './database-kinds';
import type { DatabaseKind } from './database-kinds';
import { spread } from './test-matrix';

export type { CommonOptions, DatabaseKind, DialectName, TestDatabase } from './database-kinds';

/** Major of the TypeORM under test: the Jest projects typeorm-1 and typeorm-0.3 differ in it. */
export const typeormMajor: 0 | 1 = readTypeormVersion().startsWith('0.') ? 0 : 1;

function readTypeormVersion(): string {
  const manifest = join(dirname(require.resolve('typeorm')), 'package.json');
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

/** Every database that the TypeORM under test can be tried on. */
export const DATABASES: readonly DatabaseKind[] =
  typeormMajor === 0
    ? [betterSqlite3, sqlite3, postgres, mariadb]
    : [betterSqlite3, postgres, mariadb];

/** What is tried with each major, from `npm test` over `TEST_MATRIX=all` to `TEST_MATRIX=each`. */
type Spread = Record<'one' | 'all' | 'each', readonly DatabaseKind[]>;

const serverInstalled = mariadb.unavailable === undefined ? mariadb : postgres;

/** Each database with TypeORM 1, and fewer with 0.3; in `npm test` each with one of them. */
const EACH: Spread = byMajor(
  { one: [betterSqlite3, serverInstalled], all: DATABASES, each: DATABASES },
  { one: [postgres], all: [sqlite3, mariadb], each: DATABASES },
);

/** SQLite by the driver that 0.3 alone has, and a server with 1. */
const DIAGONAL: Spread = byMajor(
  { one: [postgres], all: [postgres, serverInstalled], each: DATABASES },
  { one: [], all: [sqlite3], each: DATABASES },
);

function byMajor(one: Spread, zero: Spread): Spread {
  return typeormMajor === 0 ? zero : one;
}

/**
 * {@link describeEachDatabase} for suites in which the major of TypeORM and the database have little to
 * do with each other: each is tried, but not with each.
 */
export function describeDiagonal(title: string, body: (database: DatabaseKind) => void): void {
  const kinds = DIAGONAL[spread];
  // The whole has one server for each suite, as good as drawn by lot.
  const isInTurn = spread === 'all' && kinds.length > 1;
  describeDatabases(isInTurn ? kinds.slice(title.length % 2).slice(0, 1) : kinds, title, body);
}

/**
 * `describe` once for each database. One that cannot run here is reported as skipped, with the
 * reason in its title.
 */
export function describeEachDatabase(title: string, body: (database: DatabaseKind) => void): void {
  describeDatabases(EACH[spread], title, body);
}

/** `describe` once for each of some databases, as {@link describeEachDatabase} does. */
export function describeDatabases(
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
