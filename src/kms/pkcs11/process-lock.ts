import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

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
