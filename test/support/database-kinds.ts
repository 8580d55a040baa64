import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import type { DataSourceOptions } from 'typeorm';

import { fastFolder } from './fast-folder';

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

/** The databases that differ in their SQL and their errors. */
export type DialectName = 'sqlite' | 'postgres' | 'mysql';

export interface DatabaseKind {
  /** 'better-sqlite3', 'sqlite3', 'postgres' or 'mariadb'. */
  name: string;
  type: 'better-sqlite3' | 'sqlite' | 'postgres' | 'mariadb' | 'mysql';
  dialect: DialectName;
  /** The statements that TypeORM can have return rows there. */
  returning: readonly ('insert' | 'update' | 'delete')[];
  /** Why tests cannot run on it here; undefined when they can. */
  unavailable: string | undefined;
  /**
   * A fresh, empty database.
   *
   * @throws Error with the reason when the database is unavailable.
   */
  create(options?: CommonOptions): Promise<TestDatabase>;
}

export const betterSqlite3: DatabaseKind = {
  name: 'better-sqlite3',
  type: 'better-sqlite3',
  dialect: 'sqlite',
  returning: [],
  unavailable: undefined,
  create: (options) => createSqliteFile('better-sqlite3', options),
};

/** TypeORM 1.0 dropped the driver of this name. */
export const sqlite3: DatabaseKind = {
  name: 'sqlite3',
  type: 'sqlite',
  dialect: 'sqlite',
  returning: [],
  unavailable: undefined,
  create: (options) => createSqliteFile('sqlite', options),
};

export const postgres: DatabaseKind = {
  name: 'postgres',
  type: 'postgres',
  dialect: 'postgres',
  returning: ['insert', 'update', 'delete'],
  unavailable: whyUnavailable('FIELD_ENCRYPTION_TEST_PG'),
  create: createPostgresDatabase,
};

/** The server that was given may be MySQL as well: the scheme of its URL is the type then. */
export const mariadb: DatabaseKind = {
  name: 'mariadb',
  type: mysqlUrl().startsWith('mysql:') ? 'mysql' : 'mariadb',
  dialect: 'mysql',
  returning: mysqlUrl().startsWith('mysql:') ? [] : ['insert', 'delete'],
  unavailable: whyUnavailable('FIELD_ENCRYPTION_TEST_MYSQL'),
  create: createMariadbDatabase,
};

/** Why there is none of the servers that global-setup.ts starts; undefined when there is. */
function whyUnavailable(variable: string): string | undefined {
  if (process.env[`${variable}_URL`]) return undefined;
  return process.env[`${variable}_UNAVAILABLE`] ?? 'the Jest project has no global set-up';
}

function createSqliteFile(
  type: 'better-sqlite3' | 'sqlite',
  options: CommonOptions = {},
): Promise<TestDatabase> {
  const folder = mkdtempSync(join(fastFolder(), 'field-encryption-sqlite-'));
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
  const name = freshName();
  await administratePostgres(`CREATE DATABASE ${name}`);
  const url = new URL(postgresUrl());
  url.pathname = name;
  return {
    dataSourceOptions: { ...options, type: 'postgres', url: url.href } as DataSourceOptions,
    dispose: () => administratePostgres(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function administratePostgres(statement: string): Promise<void> {
  const client = new Client({ connectionString: postgresUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function postgresUrl(): string {
  return process.env.FIELD_ENCRYPTION_TEST_PG_URL ?? '';
}

async function createMariadbDatabase(options: CommonOptions = {}): Promise<TestDatabase> {
  if (mariadb.unavailable !== undefined) {
    throw new Error(`No MariaDB to test on: ${mariadb.unavailable}`);
  }
  const name = freshName();
  await administrateMariadb((connection) => connection.query(`CREATE DATABASE ${name}`));
  const url = new URL(mysqlUrl());
  url.pathname = name;
  return {
    dataSourceOptions: { ...options, type: mariadb.type, url: url.href } as DataSourceOptions,
    dispose: () => administrateMariadb((connection) => dropMariadbDatabase(connection, name)),
  };
}

/** Ends the connections to a database first: dropping it would wait for their transactions. */
async function dropMariadbDatabase(connection: Connection, name: string): Promise<void> {
  const [processes] = await connection.query<RowDataPacket[]>('SHOW PROCESSLIST');
  for (const { Id, db } of processes) {
    // It may have ended by itself.
    if (db === name) await connection.query(`KILL ${String(Id)}`).catch(() => undefined);
  }
  await connection.query(`DROP DATABASE IF EXISTS ${name}`);
}

async function administrateMariadb(
  work: (connection: Connection) => Promise<unknown>,
): Promise<void> {
  const connection = await createConnection({ uri: mysqlUrl() });
  try {
    await work(connection);
  } finally {
    await connection.end();
  }
}

function mysqlUrl(): string {
  return process.env.FIELD_ENCRYPTION_TEST_MYSQL_URL ?? '';
}

function freshName(): string {
  return `field_encryption_${randomBytes(8).toString('hex')}`;
}
