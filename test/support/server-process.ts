import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { fastFolder } from './fast-folder';

/** The server of a database, started for tests. */
export interface TestServer {
  /** Connection URL of an administrator, with a database that is always there. */
  url: string;
  /** Stops the server and removes its files. */
  stop(): Promise<void>;
}

/** How a server of tests is started, once its files are prepared. */
export interface ServerProgram {
  url: string;
  /** Makes the data directory. */
  setUp: readonly string[];
  /** Runs the server in the foreground. */
  command: readonly string[];
  /** The signal that ends the server at once. */
  signal: 'INT' | 'KILL';
  /** Opens a connection and closes it; rejects until the server is ready. */
  connect(): Promise<void>;
}

/** What a server of tests has to itself; both folders are removed with it. */
export interface ServerPlace {
  folder: string;
  /** Where files take no time, and may be lost. */
  fastFolder: string;
  port: number;
}

const READY_TIMEOUT_MS = 60_000;

/** Database servers refuse to run as root; this user exists everywhere and owns nothing. */
const NOBODY = { uid: 65534, gid: 65534 };

/**
 * Starts a server on a free port of 127.0.0.1, with its files under the system's temporary folder. Works as
 * root too.
 *
 * @param title - the name of the database.
 * @param prepare - writes what the server needs into its folder, which another user gets afterwards.
 * @throws Error with the server's log when it is not ready within 60 seconds.
 */
export async function startServer(
  title: string,
  prepare: (place: ServerPlace) => Promise<ServerProgram>,
): Promise<TestServer> {
  const place = await placeFor(title);
  const folders = [place.folder, place.fastFolder];
  try {
    const program = await prepare(place);
    if (isRoot()) {
      execFileSync('chown', ['-R', `${String(NOBODY.uid)}:${String(NOBODY.gid)}`, ...folders]);
    }
    const supervisor = supervise(place, program);
    await ready(title, program, place, supervisor);
    return { url: program.url, stop: () => stop(supervisor) };
  } catch (error) {
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function placeFor(title: string): Promise<ServerPlace> {
  const name = `field-encryption-${title.toLowerCase()}-`;
  return {
    folder: await mkdtemp(join(tmpdir(), name)),
    fastFolder: await mkdtemp(join(fastFolder(), name)),
    port: await freePort(),
  };
}

/** Whether servers run as another user, who may not look everywhere. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Runs the server until standard input closes, then removes its folders: whatever ends the test run,
 * a crash or SIGKILL included, neither server nor files stay behind. A server that has only just
 * begun may not hear the signal yet, hence the loop.
 */
function supervisorOf(place: ServerPlace, { setUp, command, signal }: ServerProgram): string {
  const folder = quoted(place.folder);
  return `
exec 2> ${folder}/log
if ${setUp.map(quoted).join(' ')} >&2; then
  ${command.map(quoted).join(' ')} & server=$!
  cat > /dev/null
  while kill -${signal} $server; do sleep 0.1; done
  rm -rf ${folder} ${quoted(place.fastFolder)}
fi
`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function supervise(place: ServerPlace, program: ServerProgram): ChildProcess {
  const { folder } = place;
  const supervisor = spawn('sh', ['-c', supervisorOf(place, program)], {
    ...(isRoot() ? NOBODY : {}),
    cwd: folder,
    // MariaDB begins with removing temporary files, those of another server as well.
    env: { ...process.env, TMPDIR: folder },
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

async function ready(
  title: string,
  { connect }: ServerProgram,
  { folder }: ServerPlace,
  supervisor: ChildProcess,
): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await accepts(connect))) {
    if (supervisor.exitCode !== null || Date.now() > deadline) {
      const log = await readFile(join(folder, 'log'), 'utf8').catch(() => 'it left no log');
      await stop(supervisor);
      throw new Error(`${title} did not start: ${log}`);
    }
    await sleep(100);
  }
}

async function accepts(connect: () => Promise<void>): Promise<boolean> {
  try {
    await connect();
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
