import { relative } from 'node:path';

import type { Session } from '../load/session';

/**
 * Returns the command line that runs another command on the same DataSource, quoted for a shell. What
 * Node.js was given, such as a loader or a file with the environment, it is given again.
 */
export function commandLine(
  { dataSourcePath }: Pick<Session, 'dataSourcePath'>,
  ...args: readonly string[]
): string {
  const { NODE_OPTIONS = '' } = process.env;
  return [
    ...(NODE_OPTIONS === '' ? [] : [`NODE_OPTIONS=${quoted(NODE_OPTIONS)}`]),
    program(),
    ...['-d', dataSourcePath, ...args].map(quoted),
  ].join(' ');
}

/** Returns what starts this program; `npx` hands no options to Node.js. */
function program(): string {
  const { execArgv, argv } = process;
  if (execArgv.length === 0) return 'npx field-encryption';
  return ['node', ...execArgv, relative('', argv[1] ?? '')].map(quoted).join(' ');
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
