import { readFileSync } from 'node:fs';
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
  if (from !== undefined) return readFileSync(from, 'utf8').replace(/\r?\n$/, '');
  const passphrase = await prompt('Passphrase of the backup: ');
  if (repeat && (await prompt('Once more: ')) !== passphrase) {
    throw new CommandError('ERR_USAGE', 'The two passphrases differ.', 'Run the command again.');
  }
  return passphrase;
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
