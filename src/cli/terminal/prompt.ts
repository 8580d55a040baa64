import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

import { requireStrong } from '../../kms/local/passphrase';

import { CommandError, EXIT_CODES } from './command-error';
import { reading } from './named-file';
import { visible } from './table';

/** Discards what readline would echo. */
const nowhere = new Writable({
  write: (_chunk, _encoding, done) => {
    done();
  },
});

/**
 * Asks a question on the terminal, through stderr: stdout is for the result.
 *
 * @param hidden - whether to hide what is typed.
 * @returns the answer; undefined if the operator leaves with Ctrl-C or Ctrl-D.
 */
async function ask(text: string, { hidden = false } = {}): Promise<string | undefined> {
  const question = visible(text);
  const { stdin, stderr } = process;
  const terminal = createInterface({
    input: stdin,
    output: hidden ? nowhere : stderr,
    terminal: true,
  });
  try {
    // Only now: until readline listens, the terminal itself echoes.
    if (hidden) stderr.write(question);
    const typed = terminal.question(hidden ? '' : question).catch(() => undefined);
    // If the terminal goes away, the question never settles, and a process with nothing else to wait
    // for would exit as if all were well.
    const left = once(terminal, 'close').then(() => undefined);
    return await Promise.race([typed, left]);
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

/** What is about to be done, and the word that confirms it. */
interface Question {
  readonly warning: string;
  readonly word: string;
}

/**
 * Asks the operator to type a word before something that cannot be undone.
 *
 * @param confirmed - whether `--yes` was given, for scripts.
 * @throws {@link CommandError} without a terminal, and for any other answer
 */
export async function confirm(confirmed: boolean, question: Question): Promise<void> {
  if (confirmed) return;
  requireTerminal(question.warning);
  const answer = await ask(questionText(question));
  if (answer === undefined) throw abandoned();
  if (answer.trim() === question.word) return;
  throw new CommandError('ERR_USAGE', 'Not confirmed. Nothing was changed.', 'Run it again.');
}

/** Whether the operator types the word, where something has been done that the answer does not undo. */
export async function isConfirmed(question: Question): Promise<boolean> {
  return (await ask(questionText(question)))?.trim() === question.word;
}

/** @throws {@link CommandError} where nobody can be asked */
export function requireTerminal(warning: string): void {
  if (process.stdin.isTTY) return;
  throw new CommandError('ERR_USAGE', `${warning} Nothing was changed.`, 'Confirm it with --yes.');
}

function questionText({ warning, word }: Question): string {
  return `${warning}\nType ${word} to go on: `;
}

/** The source of a passphrase: a prompt if neither is given, and never the command line itself. */
export interface SecretSource {
  readonly passphraseFile?: string;
  readonly passphraseFd?: number;
}

/**
 * Reads a passphrase from a file, a file descriptor or a prompt that does not echo.
 *
 * @param repeat - whether to prompt twice, for a new passphrase.
 * @throws {@link CommandError} if there is no passphrase; {@link ConfigurationError} for a new one that is too short
 */
export async function readPassphrase(source: SecretSource, repeat: boolean): Promise<string> {
  const from = source.passphraseFile ?? source.passphraseFd;
  if (from !== undefined) return readSecret(from).replace(/\r?\n$/, '');
  const passphrase = await prompt('Passphrase of the backup: ');
  // Before it is typed again.
  if (repeat) requireStrong(passphrase);
  if (repeat && (await prompt('Once more: ')) !== passphrase) {
    throw new CommandError('ERR_USAGE', 'The two passphrases differ.', 'Run the command again.');
  }
  return passphrase;
}

const WRITABLE_BY_OTHERS = 0o022;
const READABLE_BY_OTHERS = 0o044;

function readSecret(from: string | number): string {
  const name = typeof from === 'number' ? `file descriptor ${String(from)}` : from;
  return reading(name, () => readChecked(from));
}

function readChecked(from: string | number): string {
  const file = typeof from === 'number' ? from : openSync(from, 'r');
  try {
    // Of the open file, not of the path, which may come to name another file before it is read.
    const stat = fstatSync(file);
    if (stat.isFile()) requireUnwritable(from, stat.mode);
    return readFileSync(file, 'utf8');
  } finally {
    if (typeof from === 'string') closeSync(file);
  }
}

/**
 * Refuses a secret that others may write, and warns of one that they may read: mounted secrets are
 * often readable by all within a container.
 */
function requireUnwritable(from: string | number, mode: number): void {
  // Windows has no such bits; Node makes them up.
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
      'Give --passphrase-file, --passphrase-fd or --kms.',
    );
  }
  const typed = await ask(question, { hidden: true });
  if (typed === undefined) throw abandoned();
  return typed;
}
