import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SHARE_ENV, Worker } from 'node:worker_threads';

import * as pkcs11js from 'pkcs11js';

import { WorkerSessionThread } from '../../src/kms/pkcs11/session-thread';
import { SessionPool } from '../../src/kms/pkcs11/session-pool';
import type { Pkcs11KmsOptions } from '../../src/kms/pkcs11/options';
import { parseOptions } from '../../src/kms/pkcs11/options';
import type { Pkcs11Kms } from '../../src/kms/pkcs11/pkcs11-provider';
import { Pkcs11KmsProvider } from '../../src/kms/pkcs11/pkcs11-provider';
import { tokenName } from '../../src/kms/pkcs11/token';

/** Runs a thread's thread from its TypeScript source. */
export const TYPESCRIPT_THREADS = ['--require', 'tsx/cjs'];

export const PIN = 'canary-pin-4711';
const SO_PIN = 'canary-so-pin-4712';

/** What a provider needs to reach a token of the tests. */
export type TokenAccess = Pick<Pkcs11KmsOptions, 'library' | 'token' | 'pin' | 'libraryParameters'>;

/** A real PKCS #11 module of this machine. */
export interface TestModule {
  readonly name: string;
  readonly library: string;
  /** Why the suites for it cannot run here; `undefined` where they can. */
  readonly missing: string | undefined;
  /** Makes what it keeps its tokens in, and initialises it in this process. */
  start(): Promise<void>;
  /** A token to work with: a new one where the module can make it. */
  token(): TokenAccess;
  /** Behind the provider's back. Of this process, and so logged in whenever a provider is. */
  admin(): pkcs11js.PKCS11;
}

/** A module stays initialised for as long as its process lives, whatever test files run in it. */
export const folderOf = (name: string): string =>
  join(tmpdir(), `field-encryption-${name}-${String(process.pid)}`);

function firstThere(paths: readonly string[]): string | undefined {
  return paths.find((path) => existsSync(path));
}

function isInstalled(command: string): boolean {
  try {
    execFileSync('which', [command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const softHsmLibrary = firstThere([
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
]);

const nssLibrary = firstThere([
  '/usr/lib/x86_64-linux-gnu/libsoftokn3.so',
  '/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so',
  '/usr/lib/aarch64-linux-gnu/libsoftokn3.so',
]);

const softHsmAdmin = lazily(() => initialised(softHsmLibrary ?? ''));
const nssAdmin = lazily(() => initialised(nssLibrary ?? '', nssParameters()));

export const softHsm: TestModule = {
  name: 'SoftHSM2',
  library: softHsmLibrary ?? '',
  missing: softHsmLibrary === undefined ? 'apt-get install softhsm2' : undefined,
  start: async () => {
    await useSoftHsmFolder(folderOf('softhsm'));
    softHsmAdmin();
  },
  token: () => {
    const label = `test ${randomBytes(6).toString('hex')}`;
    makeToken(softHsmAdmin(), label);
    return { library: softHsm.library, token: { label }, pin: PIN };
  },
  admin: softHsmAdmin,
};

export const nss: TestModule = {
  name: 'NSS softoken',
  library: nssLibrary ?? '',
  missing:
    nssLibrary === undefined || !isInstalled('certutil')
      ? 'apt-get install libnss3 libnss3-tools'
      : undefined,
  start: () => {
    const folder = folderOf('nss');
    if (!existsSync(folder)) makeNssFolder(folder);
    nssAdmin();
    return Promise.resolve();
  },
  token: () => ({
    library: nss.library,
    libraryParameters: nssParameters(),
    token: { label: 'NSS Certificate DB' },
    pin: PIN,
  }),
  admin: nssAdmin,
};

/** The provider as `pkcs11Kms` makes it, with threads that run TypeScript. */
export function openKms(options: Pkcs11KmsOptions, execArgv = TYPESCRIPT_THREADS): Pkcs11Kms {
  const { settings, limits, pin } = parseOptions(options);
  const pool = new SessionPool(() => new WorkerSessionThread(settings, execArgv), limits);
  return new Pkcs11KmsProvider(pool, pin, tokenName(settings));
}

/** For processes that share the tokens of this one. */
export function softHsmEnvironment(): Record<string, string> {
  return { SOFTHSM2_CONF: join(folderOf('softhsm'), 'softhsm2.conf') };
}

/** Makes and names the folder of the tokens; SoftHSM2 learns of it by its environment only. */
async function useSoftHsmFolder(folder: string): Promise<void> {
  const configuration = join(folder, 'softhsm2.conf');
  mkdirSync(join(folder, 'tokens'), { recursive: true });
  writeFileSync(
    configuration,
    `directories.tokendir = ${join(folder, 'tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  await setEnvironment('SOFTHSM2_CONF', configuration);
}

/** Makes a token in a slot that the module keeps free for it. */
export function makeToken(admin: pkcs11js.PKCS11, label: string): void {
  const free = admin
    .C_GetSlotList(true)
    .find((slot) => (admin.C_GetTokenInfo(slot).flags & pkcs11js.CKF_TOKEN_INITIALIZED) === 0);
  if (free === undefined) throw new Error('the module shows no free slot');
  // Of a fixed length in the standard, which pkcs11js leaves to its callers.
  admin.C_InitToken(free, SO_PIN, label.padEnd(32));
  const session = admin.C_OpenSession(slotOf(admin, label), RW_SESSION);
  admin.C_Login(session, pkcs11js.CKU_SO, SO_PIN);
  admin.C_InitPIN(session, PIN);
  admin.C_Logout(session);
  admin.C_CloseSession(session);
}

/** CKS_RW_PUBLIC_SESSION: nobody is logged in. */
const RW_PUBLIC_SESSION = 2;

const RW_SESSION = pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION;

export function slotOf(admin: pkcs11js.PKCS11, label: string | undefined): Buffer {
  const slot = admin
    .C_GetSlotList(true)
    .find((each) => admin.C_GetTokenInfo(each).label.replace(/[\0 ]+$/, '') === label);
  if (slot === undefined) throw new Error('there is no such token');
  return slot;
}

/** Runs `work` in a session of a user, who stays logged in only as long as others have sessions. */
export function asUser<T>(
  admin: pkcs11js.PKCS11,
  { token }: TokenAccess,
  work: (session: Buffer) => T,
): T {
  const session = admin.C_OpenSession(slotOf(admin, token.label), RW_SESSION);
  try {
    if (admin.C_GetSessionInfo(session).state === RW_PUBLIC_SESSION) {
      admin.C_Login(session, pkcs11js.CKU_USER, PIN);
    }
    return work(session);
  } finally {
    admin.C_CloseSession(session);
  }
}

export function initialised(library: string, libraryParameters?: string): pkcs11js.PKCS11 {
  const admin = new pkcs11js.PKCS11();
  admin.load(library);
  try {
    admin.C_Initialize({
      flags: pkcs11js.CKF_OS_LOCKING_OK,
      ...(libraryParameters === undefined ? {} : { libraryParameters: `${libraryParameters} ` }),
    });
  } catch (error) {
    if (!String(error).includes('CKR_CRYPTOKI_ALREADY_INITIALIZED')) throw error;
  }
  return admin;
}

function nssParameters(): string {
  return `configdir='sql:${folderOf('nss')}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`;
}

function makeNssFolder(folder: string): void {
  mkdirSync(folder);
  const pinFile = join(folder, 'pin');
  writeFileSync(pinFile, `${PIN}\n`);
  execFileSync('certutil', ['-N', '-d', `sql:${folder}`, '-f', pinFile], { stdio: 'ignore' });
  rmSync(pinFile);
}

/** Of the process itself: Jest gives tests a copy, which no library sees. */
export async function setEnvironment(name: string, value: string): Promise<void> {
  const script = 'process.env[workerData[0]] = workerData[1]';
  const worker = new Worker(`const { workerData } = require('node:worker_threads'); ${script}`, {
    eval: true,
    env: SHARE_ENV,
    workerData: [name, value],
  });
  await new Promise((resolve, reject) => {
    worker.once('exit', resolve);
    worker.once('error', reject);
  });
}

export function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
