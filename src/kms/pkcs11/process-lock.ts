import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { pause } from './retries';

const LOOK_AGAIN_MS = 2;
/** Longer than any work under a lock: the thread that holds an older one has ended. */
const STALE_MS = 30_000;

/**
 * Runs `work` in one thread of this process at a time. Threads need not share memory, but they share the
 * process id: the lock is a file that only one of them can create.
 *
 * @param maxWaitMs - how long to wait for another thread before going on without the lock.
 */
export function withProcessLock<T>(name: string, maxWaitMs: number, work: () => T): T {
  const file = lockFile(name);
  const isHeld = acquire(file, maxWaitMs);
  try {
    return work();
  } finally {
    if (isHeld) remove(file);
  }
}

/** Returns false if there is no lock to be had, which is no reason to do without the token. */
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

/** Whether a lock was left behind by a thread of this process, or by an earlier process with its id. */
function isStale(file: string): boolean {
  const { mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {};
  const age = Date.now() - (mtimeMs ?? Infinity);
  return age > Math.min(STALE_MS, process.uptime() * 1000);
}

/** Removes a lock, unless it is another user's file, which blocks only until the wait is over. */
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
