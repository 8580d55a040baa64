import type { FieldEncryptionErrorCode } from '../../errors';

/** The exit codes; part of the interface. */
export const EXIT_CODES = Object.freeze({ done: 0, failed: 1, wrongUsage: 2, interrupted: 130 });

/** One of {@link EXIT_CODES}. */
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

/** Codes of errors in the command line itself, and those of FieldEncryptionError where a command knows the remedy. */
export type CommandErrorCode = 'ERR_USAGE' | 'ERR_DATA_SOURCE' | FieldEncryptionErrorCode;

/** An error with what to do about it, such as a mistake in how the command was called or set up. */
export class CommandError extends Error {
  override readonly name = 'CommandError';

  constructor(
    readonly code: CommandErrorCode,
    message: string,
    readonly remedy: string,
    details: { readonly exitCode?: ExitCode; readonly cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.exitCode = details.exitCode ?? EXIT_CODES.wrongUsage;
  }

  readonly exitCode: ExitCode;
}
