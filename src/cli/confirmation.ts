import { CommandError } from './command-error';
import { EXIT_CODES } from './exit-code';
import { ask } from './prompt';

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
