import { createHash, createHmac, randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { ConfigurationError, FieldEncryptionError, KmsUnavailableError } from '../../errors';
import { codeSuffix } from '../remote/failures';
import { showing } from '../remote/health';

import { pause } from './retries';

const LOOK_AGAIN_MS = 2;
/** Longer than anything takes that is done under such a lock: the thread of an older one was ended. */
const STALE_MS = 30_000;

/**
 * Runs `work` in one thread of this process at a time. Threads that were not started by each other
 * share no memory, but they share the process id: the lock is a file that only one of them can make.
 *
 * @param maxWaitMs - how long to wait for another thread, before going on beside it.
 */
export function withProcessLock<T>(name: string, maxWaitMs: number, work: () => T): T {
  const file = lockFile(name);
  const isOurs = acquire(file, maxWaitMs);
  try {
    return work();
  } finally {
    if (isOurs) remove(file);
  }
}

/** False where there is no lock to be had, which is no reason to do without the token. */
function acquire(file: string, maxWaitMs: number): boolean {
  const end = performance.now() + maxWaitMs;
  do {
    try {
      closeSync(openSync(file, 'wx', 0o600));
      return true;
    } catch (error) {
      if (!isTaken(error)) return false;
    }
    if (isStale(file)) remove(file);
    pause(LOOK_AGAIN_MS);
  } while (performance.now() < end);
  return false;
}

/** Left behind by a thread of this process, or by a process that had the same id before it. */
function isStale(file: string): boolean {
  const { mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {};
  const age = Date.now() - (mtimeMs ?? Infinity);
  return age > Math.min(STALE_MS, process.uptime() * 1000);
}

/** Somebody else's file cannot be removed, and is in nobody's way for long. */
function remove(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // The work is done, or goes on without the lock.
  }
}

function isTaken(error: unknown): boolean {
  return typeof error === 'object' && error !== null && Reflect.get(error, 'code') === 'EEXIST';
}

function lockFile(name: string): string {
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 16);
  return join(tmpdir(), `field-encryption-${String(process.pid)}-${digest}.lock`);
}

/**
 * The user PIN of the token, or a function that is asked for it whenever somebody must log in:
 * usually once, and again after the token has lost its sessions.
 */
export type Pin = string | (() => string | undefined | Promise<string | undefined>);

/** Makes digests of PINs that nothing outside this process can compare with. */
const digestKey = randomBytes(32);
/** PINs that were refused, by token, for the whole process: tokens count mistakes, and then lock. */
const refused = new Set<string>();

/**
 * @throws {@link ConfigurationError} when there is none; {@link KmsUnavailableError} when the
 * function that has it fails
 */
export async function askPin(pin: Pin): Promise<string> {
  const answer: unknown = typeof pin === 'function' ? await ask(pin) : pin;
  // Files that hold a PIN usually end their line; no PIN does.
  const text = typeof answer === 'string' ? answer.replace(/\r?\n$/, '') : '';
  if (text !== '') return text;
  throw new ConfigurationError(
    'pkcs11Kms: there is no PIN. Is the file or secret that holds it in place?',
  );
}

/** @throws {@link ConfigurationError} for a PIN that this token has refused before */
export function requireUnrefused(token: string, pin: string): void {
  if (!refused.has(digest(token, pin))) return;
  const error = new ConfigurationError(
    'pkcs11Kms: the token has refused this PIN, and it is not tried again by this process because ' +
      'tokens lock after a few wrong ones. Correct the PIN and restart.',
  );
  throw showing(error, { reachable: true, authenticated: false });
}

export function rememberRefused(token: string, pin: string): void {
  refused.add(digest(token, pin));
}

function digest(token: string, pin: string): string {
  return createHmac('sha256', digestKey).update(`${token}\0${pin}`).digest('base64');
}

async function ask(pin: Exclude<Pin, string>): Promise<string | undefined> {
  try {
    return await pin();
  } catch (error) {
    if (error instanceof FieldEncryptionError) throw error;
    // The cause is the application's own, and may hold what the function was about to return.
    throw new KmsUnavailableError(
      `pkcs11Kms: the function for the PIN failed${codeSuffix(error)}.`,
    );
  }
}
