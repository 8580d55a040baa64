import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

import { CommandError, EXIT_CODES } from './command-error';
import { visible } from './table';

/** What readline would echo. */
const nowhere = new Writable({
  write: (_chunk, _encoding, done) => {
    done();
  },
});

/**
 * Asks a question on the terminal, on stderr so that stdout is left to the result.
 *
 * @param hidden - shows nothing of what is typed.
 * @throws {@link CommandError} where the operator leaves with Ctrl-C or Ctrl-D
 */
async function ask(text: string, { hidden = false } = {}): Promise<string> {
  const question = visible(text);
  const { stdin, stderr } = process;
  const terminal = createInterface({
    input: stdin,
    output: hidden ? nowhere : stderr,
    terminal: true,
  });
  try {
    // Not before: until readline listens, the terminal itself echoes.
    if (hidden) stderr.write(question);
    const typed = terminal.question(hidden ? '' : question).catch(() => undefined);
    // A terminal that goes away leaves the question open for ever, and a process that has nothing
    // more to wait for ends as if all were well.
    const left = once(terminal, 'close').then(() => undefined);
    const answer = await Promise.race([typed, left]);
    if (answer === undefined) throw abandoned();
    return answer;
  } finally {
    terminal.close();
    if (hidden) stderr.write('\n');
  }
}

function abandoned(): CommandError {
  return new CommandError('ERR_USAGE', 'Not answered. Nothing was changed.', 'Run it again.', {
    exitCode: EXIT_CODES.interrupted,
  });
}

/**
 * Has the operator type a word before something is done that cannot be undone.
 *
 * @param confirmed - whether `--yes` was given, for scripts.
 * @throws {@link CommandError} without a terminal to ask on, and for any other answer
 */
export async function confirm(
  confirmed: boolean,
  { warning, word }: { readonly warning: string; readonly word: string },
): Promise<void> {
  if (confirmed) return;
  if (!process.stdin.isTTY) {
    throw new CommandError(
      'ERR_USAGE',
      `${warning} Nothing was changed.`,
      'Confirm it with --yes.',
    );
  }
  const answer = await ask(`${warning}\nType ${word} to go on: `);
  if (answer.trim() === word) return;
  throw new CommandError('ERR_USAGE', 'Not confirmed. Nothing was changed.', 'Run it again.', {
    exitCode: EXIT_CODES.failed,
  });
}

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
