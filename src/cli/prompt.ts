import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CommandError } from './command-error';
import { EXIT_CODES } from './exit-code';
import { visible } from './visible';

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
export async function ask(text: string, { hidden = false } = {}): Promise<string> {
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
