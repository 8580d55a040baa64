import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

/** Where servers are installed, by version; what is there already is used again. */
export const CACHE = resolve(__dirname, '../../../node_modules/.cache/field-encryption-servers');

/** Runs a program to its end and returns what it prints. @throws Error with one line that says what failed */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): string {
  try {
    return execFileSync(command, args, {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
  } catch (error) {
    const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') throw new Error(`${command} is not installed`, { cause: error });
    const lines = (stderr ?? message).trim().split('\n');
    throw new Error(lines.find((line) => /^error/i.test(line)) ?? lines.at(-1) ?? message, {
      cause: error,
    });
  }
}
