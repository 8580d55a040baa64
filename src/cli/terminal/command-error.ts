/** The exit codes; part of the interface. */
export const EXIT_CODES = Object.freeze({ done: 0, failed: 1, wrongUsage: 2, interrupted: 130 });

/** One of {@link EXIT_CODES}. */
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

/** Codes of errors in the command line itself, beside those of FieldEncryptionError. */
export type CommandErrorCode = 'ERR_USAGE' | 'ERR_DATA_SOURCE';

/** A mistake in how the command was called or set up, with what to do about it. */
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
