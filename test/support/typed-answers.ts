import { execFileSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';

/** Of util-linux: gives a command a terminal of its own. That of BSD has other options. */
export const TERMINAL = 'script';

export function hasPseudoTerminals(): boolean {
  try {
    return execFileSync(TERMINAL, ['--version'], { encoding: 'utf8' }).includes('util-linux');
  } catch {
    return false;
  }
}

/** Returns the arguments of {@link TERMINAL} for a command. */
export function onTerminalOf(command: string): string[] {
  return ['-qec', command, '/dev/null'];
}

/** Types an answer whenever a command on a terminal asks, and gives back what that has shown. */
export async function typeInto(
  terminal: ChildProcessWithoutNullStreams,
  answers: readonly [RegExp, string][],
): Promise<string> {
  const ended = new Promise((resolve) => terminal.once('close', resolve));
  let shown = '';
  let answered = 0;
  let from = 0;
  terminal.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
    const [question, answer] = answers[answered] ?? [];
    if (question === undefined || !question.test(shown.slice(from))) return;
    from = shown.length;
    answered += 1;
    terminal.stdin.write(answer ?? '');
  });
  await ended;
  return shown;
}
