import type { Session } from '../load/session';

/** Returns the command line that runs another command on the same DataSource, quoted for a shell. */
export function commandLine(
  { dataSourcePath }: Pick<Session, 'dataSourcePath'>,
  ...args: readonly string[]
): string {
  return `npx field-encryption ${['-d', dataSourcePath, ...args].map(quoted).join(' ')}`;
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
