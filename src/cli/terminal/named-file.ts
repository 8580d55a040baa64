import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { CommandError } from './command-error';

/**
 * Reads a file that the command line names.
 *
 * @param name - the name of the file, for the message.
 * @throws {@link CommandError} with that name if it cannot be read
 */
export function reading<T>(name: string, read: () => T): T {
  const remedy = 'Give the path of a file that this user may read.';
  return explained(read, remedy, (code) =>
    code === 'ENOENT' ? `There is no file ${name}.` : `${name} cannot be read (${code}).`,
  );
}

/** Makes a folder that the command line names, unless it is there. */
export function makeFolder(name: string): void {
  const make = (): unknown => mkdirSync(name, { recursive: true });
  const remedy = 'Give a folder that this user may write to.';
  explained(make, remedy, (code) => `${name} cannot be made (${code}).`);
}

function explained<T>(work: () => T, remedy: string, messageOf: (code: string) => string): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof CommandError || code === undefined) throw error;
    throw new CommandError('ERR_USAGE', messageOf(code), remedy, { cause: error });
  }
}

/** Reads the text of a file that the command line names; see {@link reading}. */
export function readText(file: string): string {
  return reading(file, () => readFileSync(file, 'utf8'));
}

/**
 * Requires the folder of a file that is to be written after long work.
 *
 * @throws {@link CommandError} if it does not exist
 */
export function requireFolderOf(file: string): void {
  const folder = dirname(file);
  if (existsSync(folder)) return;
  throw new CommandError(
    'ERR_USAGE',
    `There is no folder ${folder} for ${file}.`,
    'Make the folder first. Nothing was done.',
  );
}
