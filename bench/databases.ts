import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';

export const DATABASE_KINDS = ['SQLite in memory', 'SQLite file', 'PostgreSQL'] as const;
export type DatabaseKind = (typeof DATABASE_KINDS)[number];

/** Connection URL of a PostgreSQL server on which databases may be created. */
export const POSTGRES_URL = 'FIELD_ENCRYPTION_TEST_PG_URL';

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
      return { kind, location: await createPostgresDatabase() };
  }
}

/** Removes a database, whose DataSources must have been destroyed. */
export async function dropDatabase({ kind, location }: Database): Promise<void> {
  if (kind === 'SQLite file') rmSync(dirname(location), { recursive: true });
  if (kind === 'PostgreSQL') {
    const name = new URL(location).pathname.slice(1);
    await onServer((client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
  }
}

/** Returns a DataSource that creates the tables of its entities when it is initialized. */
export function dataSourceOn(
  { kind, location }: Database,
  entities: readonly (new () => object)[],
): DataSource {
  const common = { entities: [...entities], synchronize: true };
  const options: DataSourceOptions =
    kind === 'PostgreSQL'
      ? { ...common, type: 'postgres', url: location }
      : {
          ...common,
          type: 'better-sqlite3',
          database: location,
          ...(kind === 'SQLite file' ? { enableWAL: true } : {}),
        };
  return new DataSource(options);
}

/** Vacuums dead rows and writes a checkpoint, between two rounds. */
export async function tidy(dataSource: DataSource): Promise<void> {
  const postgres = dataSource.options.type === 'postgres';
  await dataSource.query(postgres ? 'VACUUM' : 'PRAGMA wal_checkpoint(TRUNCATE)');
}

/** Names the setting in results. */
export function settingName(kind: DatabaseKind): string {
  const manifest = join(dirname(require.resolve('typeorm')), 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  return `TypeORM ${version}, ${kind}`;
}

async function createPostgresDatabase(): Promise<string> {
  const name = `bench_${randomBytes(6).toString('hex')}`;
  await onServer((client) => client.query(`CREATE DATABASE ${name}`));
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return url.href;
}

async function onServer(work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: serverUrl() });
  await client.connect();
  await work(client);
  await client.end();
}

function serverUrl(): string {
  const url = process.env[POSTGRES_URL];
  if (url === undefined) throw new Error(`${POSTGRES_URL} is not set`);
  return url;
}
