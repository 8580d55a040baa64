import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { pause } from './pause';

const LOOK_AGAIN_MS = 2;
/** Longer than a module takes; a lock that is held for longer was left behind by a crash. */
const MAX_WAIT_MS = 10_000;

/**
 * Runs `work` in one thread of this process at a time. Threads that were not started by each other
 * share no memory, but they share the process id: the lock is a file that only one of them can make.
 */
export function withProcessLock<T>(name: string, work: () => T): T {
  const file = lockFile(name);
  const isOurs = acquire(file);
  try {
    return work();
  } finally {
    if (isOurs) rmSync(file, { force: true });
  }
}

function acquire(file: string): boolean {
  for (let waited = 0; waited < MAX_WAIT_MS; waited += LOOK_AGAIN_MS) {
    try {
      closeSync(openSync(file, 'wx', 0o600));
      return true;
    } catch (error) {
      // Without a folder for it there is no lock, which is no reason to do without the token.
      if (!isTaken(error)) return false;
    }
    pause(LOOK_AGAIN_MS);
  }
  return true;
}

function isTaken(error: unknown): boolean {
  return typeof error === 'object' && error !== null && Reflect.get(error, 'code') === 'EEXIST';
}

function lockFile(name: string): string {
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 16);
  return join(tmpdir(), `field-encryption-${String(process.pid)}-${digest}.lock`);
}
