import { BackupUnwrapError, FieldEncryptionError, OwnBranchNotFoundError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';

import { CommandError, EXIT_CODES } from './command-error';
import type { ExitCode } from './command-error';
import { visible } from './table';

/** The remedy for each error; docs/troubleshooting.md has the long form. */
const REMEDIES: Readonly<Record<FieldEncryptionErrorCode, string>> = Object.freeze({
  ERR_CONFIGURATION: 'Correct the set-up that the message names and run the command again.',
  ERR_FIELD_POLICY:
    'Correct the decorator that the message names, build, and run the command again.',
  ERR_KEY_NOT_FOUND:
    'Restore the row of the data_keys table from a backup of this database, or the keys from one of theirs: field-encryption keys restore <file>. Keys of scopes are in field_encryption_scope_keys, and in backups of the database alone.',
  ERR_KEY_STATE: 'Look at the keys with `field-encryption keys list`.',
  ERR_KEY_UNWRAP:
    'Use the passphrase or key file that the keys were made under; if it is the right one, restore the data_keys table from a backup.',
  ERR_KEY_UNAUTHENTICATED:
    'Look at the keys with `field-encryption keys adopt --dry-run`; adopt those that are yours.',
  ERR_KMS_UNAVAILABLE: 'Check that the KMS can be reached, then run the command again.',
  ERR_CIPHERTEXT_MALFORMED: 'Restore the row from a backup; its column may be too narrow.',
  ERR_CIPHER_SUITE:
    'Use the version of typeorm-field-encryption that made the key, or a later one.',
  ERR_DECRYPTION: 'Restore the row from a backup, or the application name it was written under.',
  ERR_PLAINTEXT_FOUND:
    'List the property in the option legacyPlaintext, and encrypt its rows: field-encryption data encrypt',
  ERR_INDEX_INTEGRITY:
    'Find out who writes tokens to the table, then run data verify and data reindex.',
  ERR_UNSUPPORTED_QUERY: 'Change the query as the message says.',
  ERR_UNSUPPORTED_VALUE: 'Correct the value.',
  ERR_VALIDATION: 'Correct the value.',
  ERR_RUN_INTERRUPTED:
    'Mend what the database reports and run the command again; it goes on where it stopped.',
  ERR_RUN_PLAN: 'Do what the message says and run the command again.',
  ERR_AUDIT: 'Bring the audit sink back, then run the command again.',
  ERR_SCOPE_MISSING: 'Name the scope, or set it as the message says.',
  ERR_SCOPE_MISMATCH:
    'Find out who writes to the table; `field-encryption data verify` lists such rows.',
  ERR_ERASED: 'The values are gone. Delete the rows, or let them be read as NULL: onErased.',
  ERR_ACCESS_DENIED:
    'Commands have the role `command-line`, and `access.levelOf` says what that may.',
  ERR_RATE_LIMITED: 'Wait as long as the message says, or raise the limit of the option guard.',
  ERR_APPROVAL_REQUIRED:
    'Where there is a request: let it be signed (`field-encryption approvals show <id>` says how), then run the command again.',
});

/** An error as the command shows it. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly exitCode: ExitCode;
}

/**
 * Describes any error by code, message and remedy, and by nothing else: driver errors carry statements,
 * parameters and connection settings.
 */
export function errorReport(error: unknown): ErrorReport {
  if (error instanceof CommandError) {
    const { code, message, remedy, exitCode } = error;
    return { code, message, remedy, exitCode };
  }
  if (error instanceof FieldEncryptionError) {
    const { code, message } = error;
    return { code, message, remedy: remedyOf(error), exitCode: EXIT_CODES.failed };
  }
  return {
    code: foreignCode(error),
    message: foreignMessage(error),
    remedy: 'This comes from the database or from the application. --verbose shows where from.',
    exitCode: EXIT_CODES.failed,
  };
}

function remedyOf(error: FieldEncryptionError): string {
  if (error instanceof BackupUnwrapError) {
    return 'Use the passphrase, KMS or shares that the backup was made with; if they are right, use another copy of the file.';
  }
  return error instanceof OwnBranchNotFoundError
    ? 'Restore the row of the data_keys table from a backup of this database.'
    : REMEDIES[error.code];
}

function foreignCode(error: unknown): string {
  const code: unknown = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^\w{1,64}$/.test(code) ? code : 'ERR_FAILED';
}

function foreignMessage(error: unknown): string {
  // A connection that was tried on several addresses fails with all reasons and no message of its own.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(foreignMessage).join('; ');
  }
  return error instanceof Error
    ? withoutCredentials(error.message)
    : 'Something that is no Error was thrown.';
}

/** Removes credentials: messages of drivers and URL parsers may quote a connection string. */
export function withoutCredentials(message: string): string {
  return message.replace(/:\/\/[^\s/@]*@/g, '://[redacted]@');
}

/** The result of a command, for people and for programs. */
export interface CommandResult {
  /** The one JSON document of `--json`. */
  readonly document: object;
  readonly text: string;
}

/** The output of a command: results go to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  result(result: CommandResult): void;
  error(report: ErrorReport, stack: string | undefined): void;
  /** A line about work under way; nothing with `--json`. */
  progress(line: string): void;
  /** Restores stdout. */
  close(): void;
}

/**
 * Reserves stdout for the result: with `--json`, whatever the application's modules print there goes to
 * stderr instead.
 */
export function openOutput(json: boolean): Output {
  const { stdout, stderr } = process;
  const write = stdout.write.bind(stdout);
  if (json) stdout.write = stderr.write.bind(stderr);
  return {
    json,
    result: ({ document, text }) => {
      write(`${visible(json ? JSON.stringify(document, null, 2) : text)}\n`);
    },
    error: ({ code, message, remedy }, stack) => {
      const shown = stack === undefined ? {} : { stack };
      const lines = [`error ${code}: ${message}`, remedy, ...Object.values(shown)];
      const text = json
        ? JSON.stringify({ error: { code, message, remedy, ...shown } }, null, 2)
        : lines.join('\n');
      stderr.write(`${visible(text)}\n`);
    },
    progress: (line) => {
      if (!json) stderr.write(`${visible(line)}\n`);
    },
    close: () => {
      stdout.write = write;
    },
  };
}
