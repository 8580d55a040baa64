import type { QueryRunner } from 'typeorm';

import { describeFailure } from '../health/ask-kms';
import type { Installation } from '../typeorm/installation/installation';

/** The severity: an `error` breaks something now, a `warning` will or may, `info` is worth knowing. */
export type FindingLevel = 'info' | 'warning' | 'error';

/** Every code with its level. Codes are stable; docs/doctor.md has a row for each. */
export const FINDING_LEVELS = Object.freeze({
  APPLICATION_NOT_SET: 'warning',
  AUDIT_OFF: 'warning',
  CONVERSION_UNDER_WAY: 'info',
  LOOKUPS_NOT_ENCRYPTED: 'error',

  LOGGER_PRINTS_PARAMETERS: 'warning',
  LOGGER_PRINTS_ON_FAILURE: 'info',
  LOGGER_CUSTOM: 'info',
  SERVER_LOGS_STATEMENTS: 'warning',

  NODE: 'info',
  NODE_UNSUPPORTED: 'error',
  BACKEND: 'info',
  NATIVE_UNUSABLE: 'warning',
  FIPS_ON: 'info',
  FIPS_OFF: 'info',
  FIPS_NOT_ENFORCED: 'error',
  FIPS_SUITE: 'warning',
  PACKAGES: 'info',
  PACKAGE_UNSUPPORTED: 'warning',
  SODIUM_MISSING: 'info',
  TYPEORM_FOREIGN: 'error',
  TYPEORM_COPIES: 'warning',
  LIBRARY_COPIES: 'error',

  KMS: 'info',
  KMS_UNHEALTHY: 'error',
  KEK_AGE: 'info',
  KEK_OLD: 'warning',
  PASSPHRASE_KEK: 'info',
  PASSPHRASE_WEAK: 'warning',

  NOT_INITIALIZED: 'error',
  DATABASE_UNREACHABLE: 'error',
  CHECK_FAILED: 'error',
  OWN_TABLE_MISSING: 'error',
  OWN_TABLE_UNREADABLE: 'error',
  OWN_TABLE_UNGUARDED: 'error',
  OWN_ROWS_HIDDEN: 'error',
  RIGHTS_INCOMPLETE: 'error',
  RIGHTS_LIMITED: 'info',
  AUDIT_LOG_CHANGEABLE: 'info',

  KEY_MISSING: 'warning',
  KEY_LOST: 'error',
  KEY_NOT_ACTIVE: 'error',
  KEY_SUSPENDED: 'warning',
  KEY_UNUSABLE: 'error',
  KEY_WITHOUT_PROVIDER: 'error',
  INDEX_ROOT_UNKNOWN: 'warning',
  POLICY_OVERDUE: 'warning',
  ANCHOR_UNREADABLE: 'error',

  APPROVALS_NOT_IN_FORCE: 'error',
  APPROVALS_UNPROVEN: 'error',
  APPROVERS_FEW: 'warning',

  TABLE_MISSING: 'error',
  TABLE_UNREADABLE: 'warning',
  ROWS_HIDDEN: 'warning',
  COLUMN_MISSING: 'error',
  COLUMN_TYPE: 'error',
  COLUMN_TOO_SHORT: 'error',
  COLUMN_NARROW: 'warning',
  COLUMN_COLLATION: 'error',
  CLEARTEXT_FOUND: 'error',
  COMMON_KEY_FOUND: 'error',
  CHECK_MISSING: 'warning',
  CHECK_OUTDATED: 'error',
  INDEX_MISSING: 'warning',
  INDEX_NOT_UNIQUE: 'error',
  INDEX_NOT_USED: 'warning',
} satisfies Record<string, FindingLevel>);

export type FindingCode = keyof typeof FINDING_LEVELS;

/** A finding of {@link FieldEncryption.doctor}. Contains names and numbers, nothing secret. */
export interface Finding {
  /** Stable. */
  readonly code: FindingCode;
  readonly level: FindingLevel;
  readonly message: string;
  /** What to do about it; empty if nothing is wrong. */
  readonly remedy: string;
}

export function finding(code: FindingCode, message: string, remedy = ''): Finding {
  return {
    code,
    level: FINDING_LEVELS[code],
    message: printable(message),
    remedy: printable(remedy),
  };
}

/** Replaces control characters: names from the database must not control a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '?');
}

/** A check of the process and its settings. */
export type Check = (
  installation: Installation,
) => readonly Finding[] | Promise<readonly Finding[]>;

/** A check of the database, which may only read. */
export type DatabaseCheck = (
  installation: Installation,
  runner: QueryRunner,
) => Promise<readonly Finding[]>;

/** Runs a check, and turns its failure into a finding. */
export async function attempted(
  name: string,
  check: () => readonly Finding[] | Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await check();
  } catch (error) {
    return [
      finding(
        'CHECK_FAILED',
        `The check of ${name} could not be made: ${describeFailure(error)}`,
        'Give the database role the right to read the tables and the catalog, and run it again.',
      ),
    ];
  }
}

/** Formats a count with its noun: `1 row`, `2,000 rows`. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** Puts a verb to the number of a count: `1 row holds`, `2 rows hold`. */
export function agreeing(verb: string, count: number): string {
  return count === 1 ? `${verb}s` : verb;
}

/** Formats a count: `2,000`. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** The command that writes the migration of index columns; its file is where the docs have migrations. */
export const SCHEMA_EXPAND = 'schema expand src/migrations/Expand';

/** The command that brings lost keys back; only the operator knows the file of the backup. */
export const KEYS_RESTORE = 'keys restore <file>';
