import { accessSync, constants, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** The file system that Linux keeps in memory. */
const IN_MEMORY = '/dev/shm';

/** Room for the databases of a whole run; containers often have 64 MB there. */
const ENOUGH_BYTES = 4 * 1024 ** 3;

/**
 * Returns the folder for databases that nobody needs after a crash: tests make many of them, and a disk takes
 * longer for it than the database. It may forbid to run programs.
 */
export function fastFolder(): string {
  return isRoomy(IN_MEMORY) ? IN_MEMORY : tmpdir();
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
