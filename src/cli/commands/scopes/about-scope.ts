import { KeyStateError } from '../../../errors';
import type { Session } from '../../load/session';
import { CommandError, EXIT_CODES } from '../../terminal/command-error';

import { commandLine } from '../command-line';
import type { NamedScope } from './named-scope';

/** Does something with a scope; an error about its state says how to look at it. */
export async function aboutScope<T>(
  session: Session,
  { kind, id }: NamedScope,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KeyStateError)) throw error;
    const remedy = error.retryable
      ? 'Run the command again.'
      : `Look at the scope: ${commandLine(session, 'status', '--scope', id, '--kind', kind)}`;
    throw new CommandError(error.code, error.message, remedy, {
      exitCode: EXIT_CODES.failed,
      cause: error,
    });
  }
}
