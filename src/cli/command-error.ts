import { EXIT_CODES } from './exit-code';
import type { ExitCode } from './exit-code';

/** Codes of what goes wrong in the command line itself, beside those of FieldEncryptionError. */
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
