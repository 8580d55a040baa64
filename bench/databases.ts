import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';

export const DATABASE_KINDS = ['SQLite in memory', 'SQLite file', 'PostgreSQL', 'MariaDB'] as const;
export type DatabaseKind = (typeof DATABASE_KINDS)[number];

/** The variables with the connection URLs of servers on which databases may be created. */
export const SERVER_URLS = {
  PostgreSQL: 'FIELD_ENCRYPTION_TEST_PG_URL',
  MariaDB: 'FIELD_ENCRYPTION_TEST_MYSQL_URL',
} as const;
export type ServerKind = keyof typeof SERVER_URLS;

/** Returns the URL of a server; `undefined` if there is none. */
export function serverUrl(kind: ServerKind): string | undefined {
  return process.env[SERVER_URLS[kind]];
}

/** Whether a database of this kind can be created. */
export function isAvailable(kind: DatabaseKind): boolean {
  return !(kind in SERVER_URLS) || serverUrl(kind as ServerKind) !== undefined;
}

/** A database for one comparison. Plain data, so that it can be sent to a process. */
export interface Database {
  readonly kind: DatabaseKind;
  /** Connection URL, path, or `:memory:`. */
  readonly location: string;
}

/** Creates an empty database. */
export async function createDatabase(kind: DatabaseKind): Promise<Database> {
  switch (kind) {
    case 'SQLite in memory':
      return { kind, location: ':memory:' };
    case 'SQLite file':
      return { kind, location: join(mkdtempSync(join(tmpdir(), 'field-encryption-')), 'bench.db') };
    case 'PostgreSQL':
    case 'MariaDB':
      return { kind, location: await createOnServer(kind) };
  }
}

/** Removes a database, whose DataSources must have been destroyed. */
export async function dropDatabase({ kind, location }: Database): Promise<void> {
  if (kind === 'SQLite file') rmSync(dirname(location), { recursive: true });
  const name = kind in SERVER_URLS ? new URL(location).pathname.slice(1) : '';
  if (kind === 'PostgreSQL') await onServer(kind, `DROP DATABASE ${name} WITH (FORCE)`);
  if (kind === 'MariaDB') await onServer(kind, `DROP DATABASE ${name}`);
}

/** Returns a DataSource that creates the tables of its entities when it is initialized. */
export function dataSourceOn(
  { kind, location }: Database,
  entities: readonly (new () => object)[],
): DataSource {
  const common = { entities: [...entities], synchronize: true };
  const options = (): DataSourceOptions => {
    if (kind === 'PostgreSQL') return { ...common, type: 'postgres', url: location };
    if (kind === 'MariaDB') return { ...common, type: 'mariadb', url: location };
    const wal = kind === 'SQLite file' ? { enableWAL: true } : {};
    return { ...common, type: 'better-sqlite3', database: location, ...wal };
  };
  return new DataSource(options());
}

const TIDYING: Readonly<Record<string, string>> = {
  postgres: 'VACUUM',
  'better-sqlite3': 'PRAGMA wal_checkpoint(TRUNCATE)',
  // Purges and flushes all along.
  mariadb: 'DO 0',
};

/** Vacuums dead rows and writes a checkpoint, between two rounds. */
export async function tidy(dataSource: DataSource): Promise<void> {
  await dataSource.query(TIDYING[dataSource.options.type] ?? '');
}

/** Names the setting in results. */
export function settingName(kind: DatabaseKind): string {
  const manifest = join(dirname(require.resolve('typeorm')), 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  return `TypeORM ${version}, ${kind}`;
}

async function createOnServer(kind: ServerKind): Promise<string> {
  const name = `bench_${randomBytes(6).toString('hex')}`;
  await onServer(kind, `CREATE DATABASE ${name}`);
  const url = new URL(serverUrl(kind) ?? '');
  url.pathname = `/${name}`;
  return url.href;
}

async function onServer(kind: ServerKind, sql: string): Promise<void> {
  const url = serverUrl(kind) ?? '';
  const type = kind === 'MariaDB' ? 'mariadb' : 'postgres';
  const server = await new DataSource({ type, url }).initialize();
  await server.query(sql);
  await server.destroy();
}
