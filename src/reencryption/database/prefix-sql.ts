import type { DataSource, QueryRunner } from 'typeorm';

import { FORMATS, keyHeader, keyPrefix } from '../../format/data-key-id';
import type { KeyInfo } from '../../keys/record/key-info';
import type { ScopeKeyState } from '../../keys/record/scope-key-record';
import { isHexPrefix, prefixSql } from '../../typeorm/connection/prefix-sql';
import { escapedTable } from '../../typeorm/connection/sql-dialect';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { SCOPE_KEY_STATE_SQL, ScopeKeySchema } from '../../typeorm/tables/scope-key-table';

/** Returns SQL for the length of a stored value, in characters of text or in bytes. */
export function lengthSql(
  { driver }: DataSource,
  column: string,
  storage: 'text' | 'binary',
): string {
  const isSure = storage === 'text' || driver.options.type === 'postgres';
  return isSure ? `length(${column})` : `length(CAST(${column} AS BLOB))`;
}

/**
 * Returns SQL for whether a stored value is under a key of a scope that is in one of some states.
 *
 * @param only - SQL for which keys `k`. Defaults to all.
 */
export function underScopeKeySql(
  dataSource: DataSource,
  column: string,
  storage: 'text' | 'binary',
  states: readonly ScopeKeyState[],
  only = 'TRUE',
): string {
  const isHex = isHexPrefix(dataSource, storage);
  const table = escapedTable(dataSource, dataSource.getMetadata(ScopeKeySchema));
  const list = states.map((state) => `'${state}'`).join(', ');
  return (
    `${prefixSql(dataSource, column, storage)} IN ` +
    `(SELECT ${isHex ? "'02' || upper(k.id)" : 'k.prefix'} FROM ${table} k WHERE ${SCOPE_KEY_STATE_SQL} IN (${list}) AND ${only})`
  );
}

/** Returns SQL that holds for the values of a column that are ciphertexts under one of some keys. */
export function underKeysSql(
  { connection }: QueryRunner,
  { column, policy }: EncryptedColumn,
  keys: readonly Pick<KeyInfo, 'id'>[],
): string {
  const cell = connection.driver.escape(column.databaseName);
  // SQLite has the prefix of bytes in hexadecimal.
  const prefixes = keys.flatMap(({ id }) =>
    Object.values(FORMATS).flatMap((format) => [
      `'${keyPrefix(id, format)}'`,
      `'${Buffer.from(keyHeader(id, format)).toString('hex').toUpperCase()}'`,
    ]),
  );
  return `${prefixSql(connection, cell, policy.storage)} IN (${prefixes.join(', ')})`;
}
