import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { CommandError } from './command-error';
import { ask } from './prompt';

/** Where a passphrase comes from; a prompt where neither is given. Never the command line itself. */
export interface SecretSource {
  readonly passphraseFile?: string;
  readonly passphraseFd?: number;
}

/**
 * Reads a passphrase from a file, a file descriptor or a prompt that does not echo.
 *
 * @param repeat - whether a prompt asks twice, for a passphrase that is new.
 * @throws {@link CommandError} where there is none to be had
 */
export async function readPassphrase(source: SecretSource, repeat: boolean): Promise<string> {
  const from = source.passphraseFile ?? source.passphraseFd;
  if (from !== undefined) return readSecret(from).replace(/\r?\n$/, '');
  const passphrase = await prompt('Passphrase of the backup: ');
  if (repeat && (await prompt('Once more: ')) !== passphrase) {
    throw new CommandError('ERR_USAGE', 'The two passphrases differ.', 'Run the command again.');
  }
  return passphrase;
}

const WRITABLE_BY_OTHERS = 0o022;
const READABLE_BY_OTHERS = 0o044;

function readSecret(from: string | number): string {
  const file = typeof from === 'number' ? from : openSync(from, 'r');
  try {
    // Of the open file, not of the path: the two may part between the check and the reading.
    const stat = fstatSync(file);
    if (stat.isFile()) requireUnwritable(from, stat.mode);
    return readFileSync(file, 'utf8');
  } finally {
    if (typeof from === 'string') closeSync(file);
  }
}

/** Secrets that are mounted are often readable by all within the container; nobody else may write one. */
function requireUnwritable(from: string | number, mode: number): void {
  // Windows has no such bits; what Node reports there is made up.
  if (process.platform === 'win32') return;
  const file = typeof from === 'string' ? from : `file descriptor ${String(from)}`;
  const open = `is open to others than its owner (mode ${(mode & 0o777).toString(8)})`;
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new CommandError(
      'ERR_USAGE',
      `The passphrase file ${file} ${open}, who may write it.`,
      `Make a new passphrase, or if nobody has written it run: chmod 600 ${file}`,
    );
  }
  if ((mode & READABLE_BY_OTHERS) === 0) return;
  process.emitWarning(`The passphrase file ${file} ${open}, who may read it.`, {
    code: 'FIELD_ENCRYPTION_READABLE_SECRET',
  });
}

async function prompt(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new CommandError(
      'ERR_USAGE',
      'There is no terminal to ask for the passphrase on.',
      'Give --passphrase-file, --passphrase-fd, --kms, or shares.',
    );
  }
  return ask(question, { hidden: true });
}
