import { randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createConnection } from 'mysql2/promise';

import { startServer } from './server-process';
import type { TestServer } from './server-process';

const SETTINGS = [
  'bind-address=127.0.0.1',
  'skip-networking=0',
  'skip-name-resolve',
  'max-connections=400',
  'innodb-buffer-pool-size=256M',
  'skip-log-bin',
  'character-set-server=utf8mb4',
  // Compares without regard to case, as servers do unless they are told otherwise.
  'collation-server=utf8mb4_general_ci',
];

/** For data that nobody needs after a crash. */
const NOT_DURABLE = [
  'innodb-flush-log-at-trx-commit=0',
  'innodb-doublewrite=0',
  // Tests create many tables, each of which would be a file, and with statistics.
  'innodb-file-per-table=0',
  'innodb-stats-persistent=0',
  'debug-no-sync',
];

/** Where Debian keeps servers, which is in the PATH of root alone. */
const SERVER_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];

/**
 * Starts a MariaDB server of the system's; its URL is that of a user with all rights.
 *
 * @param options - `durable`: whether it keeps what it promised through a crash, as a real one has to; `options`: more
 * options of the server.
 * @throws Error when it is not installed, or with its log when it is not ready within 60 seconds.
 */
export async function startMariadb({
  durable = false,
  options = [] as readonly string[],
} = {}): Promise<TestServer> {
  const [install, mariadbd] = [installed('mariadb-install-db'), installed('mariadbd')];
  return startServer('MariaDB', async ({ folder, fastFolder, port }) => {
    const password = randomBytes(16).toString('hex');
    const users = join(folder, 'users.sql');
    await writeFile(users, administrator(password), { mode: 0o600 });
    const data = `--datadir=${join(durable ? folder : fastFolder, 'data')}`;
    const settings = durable ? SETTINGS : [...SETTINGS, ...NOT_DURABLE];
    const url = `mariadb://admin:${password}@127.0.0.1:${String(port)}/mysql`;
    return {
      url,
      setUp: [
        install,
        '--no-defaults',
        data,
        '--skip-test-db',
        '--auth-root-authentication-method=socket',
      ],
      command: [
        ...[mariadbd, '--no-defaults', data, `--port=${String(port)}`, `--init-file=${users}`],
        ...[`--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`],
        // A server that starts removes the temporary files of others in a folder that they share.
        `--tmpdir=${folder}`,
        ...[...settings, ...options].map((each) => `--${each}`),
      ],
      // Shutting down takes longer, for files that are removed.
      signal: 'KILL',
      connect: () => connect(url),
    };
  });
}

function administrator(password: string): string {
  return [
    `CREATE USER admin@'127.0.0.1' IDENTIFIED BY '${password}';`,
    "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;",
  ].join('\n');
}

function installed(program: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SERVER_FOLDERS];
  const file = folders.map((folder) => join(folder, program)).find(isExecutable);
  if (file === undefined) {
    throw new Error(`There is no ${program} (Debian has it in mariadb-server).`);
  }
  return file;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function connect(uri: string): Promise<void> {
  const connection = await createConnection({ uri });
  await connection.end();
}
