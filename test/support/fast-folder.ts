import { accessSync, constants, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The file system that Linux keeps in memory. */
const IN_MEMORY = '/dev/shm';

/** Room for the databases of a whole run; containers often have 64 MB there. */
const ENOUGH_BYTES = 4 * 1024 ** 3;

/**
 * Returns the folder for files that nobody needs after a crash: tests make many of them, such as those of
 * databases, and a disk takes longer for it than all else. It may forbid to run programs.
 */
export function fastFolder(): string {
  return isRoomy(IN_MEMORY) ? IN_MEMORY : tmpdir();
}

/** Returns {@link fastFolder} where programs may run there, else the system's temporary folder. */
export function fastProgramFolder(): string {
  const folder = mkdtempSync(join(fastFolder(), 'field-encryption-program-'));
  try {
    const program = join(folder, 'program');
    writeFileSync(program, '', { mode: 0o700 });
    accessSync(program, constants.X_OK);
    return fastFolder();
  } catch {
    return tmpdir();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function isRoomy(folder: string): boolean {
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= ENOUGH_BYTES;
  } catch {
    return false;
  }
}
