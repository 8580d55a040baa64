import { randomBytes } from 'node:crypto';
import { access, constants, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import { ConfigurationError } from '../../errors';

import type { KeyTableAnchor } from './anchor-state';

/**
 * An anchor in a file that its owner alone may read and write (mode 0600). It is replaced as a whole: a
 * reader sees the old text or the new one. It protects only if those who can write to the database cannot
 * write to it, and all processes of an application must share it.
 *
 * @param path - path of the file; its folder must exist and be writable.
 * @throws {@link ConfigurationError} for an empty path
 */
export function fileAnchor(path: string): KeyTableAnchor {
  if (path === '') throw new ConfigurationError('fileAnchor: the path is empty.');
  return {
    read: () => readIfThere(path),
    check: async () => {
      await readIfThere(path);
      await access(dirname(path), constants.W_OK | constants.X_OK);
    },
    write: async (state) => {
      const scratch = `${path}.${randomBytes(6).toString('hex')}`;
      try {
        await writeThrough(scratch, state);
        await rename(scratch, path);
      } catch (error) {
        await rm(scratch, { force: true });
        throw error;
      }
    },
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a file and syncs it to the disk, before it replaces the old one. */
async function writeThrough(path: string, state: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(state);
    await file.sync();
  } finally {
    await file.close();
  }
}
