import { FieldEncryptionError } from '../errors';
import { CommandError } from './command-error';
import { EXIT_CODES } from './exit-code';
import type { ExitCode } from './exit-code';
import { REMEDIES } from './remedies';

/** An error as the command shows it. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly exitCode: ExitCode;
}

/**
 * Describes any error by code, message and remedy. Takes no other property of it: driver errors
 * carry statements, parameters and connection settings.
 */
export function errorReport(error: unknown): ErrorReport {
  if (error instanceof CommandError) {
    const { code, message, remedy, exitCode } = error;
    return { code, message, remedy, exitCode };
  }
  if (error instanceof FieldEncryptionError) {
    const { code, message } = error;
    return { code, message, remedy: REMEDIES[code], exitCode: EXIT_CODES.failed };
  }
  return {
    code: foreignCode(error),
    message: foreignMessage(error),
    remedy: 'This comes from the database or from the application. --verbose shows where from.',
    exitCode: EXIT_CODES.failed,
  };
}

function foreignCode(error: unknown): string {
  const code: unknown = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^\w{1,64}$/.test(code) ? code : 'ERR_FAILED';
}

function foreignMessage(error: unknown): string {
  // A connection tried on several addresses fails with all reasons and no message of its own.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(foreignMessage).join('; ');
  }
  return error instanceof Error
    ? withoutCredentials(error.message)
    : 'Something that is no Error was thrown.';
}

/** Messages of drivers and URL parsers may quote a connection string. */
export function withoutCredentials(message: string): string {
  return message.replace(/:\/\/[^\s/@]*@/g, '://[redacted]@');
}
