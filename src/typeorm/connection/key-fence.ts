import { QueryFailedError } from 'typeorm';
import type { DataSource } from 'typeorm';

import { KeyStateError, UnsupportedQueryError } from '../../errors';
import { HEADER_BYTES, prefixOfText, unboundPrefix } from '../../format/data-key-id';
import type { UsedKeys } from '../../keys/cache/used-keys';
import { dialectOf } from '../dialect/dialect-of';
import { escapedTable } from '../dialect/escaped-table';
import type { SqlValue } from '../dialect/sql-forms';

/** The last moment that all databases know. */
const LATEST = Date.UTC(9999, 11, 31);

/**
 * Returns SQL that is the value until a time by the clock of the database, and an error from then on. A
 * statement evaluates it with its table or file locked for writing. So either the erasure of a key waits for
 * the statement, or the statement is too late and fails, however long it or its process was suspended.
 *
 * Databases compile it into every statement that writes, hence the simplest expressions that fail only when
 * they are evaluated.
 */
export function fenceSql(
  dataSource: DataSource,
  until: number,
  value: SqlValue,
  whileTrue = '',
): string {
  return dialectOf(dataSource).sql.until(Math.min(until, LATEST), value, whileTrue);
}

/** Returns SQL that is true while the rows of keys are there which a rollback may take away. */
function whileThereSql(dataSource: DataSource, ids: readonly string[]): string {
  if (ids.length === 0) return '';
  const table = escapedTable(dataSource, dataSource.getMetadata('FieldEncryptionScopeKey'));
  // Ids are hexadecimal digits.
  const list = ids.map((id) => `'${id}'`).join(', ');
  return ` AND (SELECT COUNT(*) FROM ${table} WHERE id IN (${list})) = ${String(ids.length)}`;
}

/** Returns the statement with a fence around the first value that one of the data keys has encrypted. */
export function fenced(
  dataSource: DataSource,
  [sql, parameters]: readonly [string, unknown[]],
  used: UsedKeys,
): [string, unknown[]] {
  const prefixes = used.dataPrefixes;
  if (prefixes.length === 0) return [sql, parameters];
  const at = parameters.findIndex((value) => prefixes.includes(prefixOfValue(value)));
  const found = at < 0 ? undefined : dialectOf(dataSource).sql.placeholderAt(sql, at);
  if (at >= 0 && found === undefined) throw placeholderNotFound();
  if (found === undefined) return [sql, parameters];
  const type = typeof parameters[at] === 'string' ? 'text' : 'binary';
  const whileThere = whileThereSql(dataSource, used.vanishing);
  const whole = fenceSql(dataSource, used.usableUntil, { sql: found.text, type }, whileThere);
  const rest = sql.slice(found.index + found.text.length);
  return [`${sql.slice(0, found.index)}${whole}${rest}`, parameters];
}

/** Only where a driver may count placeholders in quotes, which the statement of another builder or raw SQL has. */
function placeholderNotFound(): UnsupportedQueryError {
  return new UnsupportedQueryError(
    'The statement has a question mark in quotes or in a comment, which versions of mysql2 take for a parameter or ' +
      'not. Give the text that holds it as a parameter.',
  );
}

/** Rethrows the error of a statement; that of its fence as one for users. */
export function rethrowFenced(dataSource: DataSource, error: unknown): never {
  if (!(error instanceof QueryFailedError)) throw error;
  const { message, query } = error as QueryFailedError;
  if (!dialectOf(dataSource).sql.isTooLate(message, query)) throw error;
  throw new KeyStateError(
    'A statement came to the database when the key that it was made with had not been confirmed for ' +
      'keyCache.maxAgeMs: it, or its process, had stood still on the way. Nothing was written. Try again.',
    { retryable: true },
  );
}

function prefixOfValue(value: unknown): string {
  if (typeof value === 'string') return prefixOfText(value);
  return Buffer.isBuffer(value) ? unboundPrefix(value.toString('base64url', 0, HEADER_BYTES)) : '';
}

/** The keys that statements were made with, by their parameters. */
const usedKeys = new WeakMap<readonly unknown[], UsedKeys>();

/** Notes the keys that a statement was made with: it is held back if they are too old when it is sent. */
export function rememberKeys(parameters: readonly unknown[], used: UsedKeys): void {
  if (!used.isEmpty) usedKeys.set(parameters, used);
}

/** Returns the keys that the statement with these parameters was made with. */
export function keysOfStatement(parameters: readonly unknown[]): UsedKeys | undefined {
  return usedKeys.get(parameters);
}
