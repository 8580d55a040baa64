import { readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { withProcessLock } from '../../../../src/kms/pkcs11/process-lock';

const NAME = 'a module of this test';

/** Of other tests in this process, whose threads may have been ended. */
const OTHERS = new Set(allLockFiles());

function allLockFiles(): string[] {
  return readdirSync(tmpdir())
    .filter((file) => file.startsWith(`field-encryption-${String(process.pid)}-`))
    .map((file) => join(tmpdir(), file));
}

function lockFiles(): string[] {
  return allLockFiles().filter((file) => !OTHERS.has(file));
}

describe('withProcessLock', () => {
  it('holds a file while it works, and none afterwards, whatever comes of the work', () => {
    expect(withProcessLock(NAME, 10, () => lockFiles().length)).toBe(1);
    expect(() =>
      withProcessLock(NAME, 10, () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(lockFiles()).toEqual([]);
  });

  it('goes on beside a holder that takes too long, and leaves that its lock', () => {
    const files = withProcessLock(NAME, 10, () => {
      expect(withProcessLock(NAME, 10, () => 'done')).toBe('done');
      return lockFiles().length;
    });
    expect(files).toBe(1);
  });

  it('takes over a lock from before the process began', () => {
    const [file = ''] = withProcessLock(NAME, 10, lockFiles);
    writeFileSync(file, '');
    const before = new Date(Date.now() - 3_600_000);
    utimesSync(file, before, before);

    try {
      withProcessLock(NAME, 1_000, () => undefined);
      expect(lockFiles()).toEqual([]);
    } finally {
      rmSync(file, { force: true });
    }
  });
});
