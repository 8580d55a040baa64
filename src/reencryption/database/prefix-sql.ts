import type { DataSource, QueryRunner } from 'typeorm';

import { FORMATS, keyHeader, keyPrefix } from '../../format/data-key-id';
import type { KeyInfo } from '../../keys/record/key-info';
import type { ScopeKeyState } from '../../keys/record/scope-key-record';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { escapedTable } from '../../typeorm/dialect/escaped-table';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { SCOPE_KEY_STATE_SQL, ScopeKeySchema } from '../../typeorm/tables/scope-key-table';

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
  const { sql } = dialectOf(dataSource);
  const isHex = sql.hasHexPrefix(storage);
  const table = escapedTable(dataSource, dataSource.getMetadata(ScopeKeySchema));
  const list = states.map((state) => `'${state}'`).join(', ');
  return (
    `${sql.prefix(column, storage)} IN ` +
    `(SELECT ${isHex ? sql.concat(["'02'", 'upper(k.id)']) : 'k.prefix'} FROM ${table} k WHERE ${SCOPE_KEY_STATE_SQL} IN (${list}) AND ${only})`
  );
}

/** Returns SQL that holds for the values of a column that are ciphertexts under one of some keys. */
export function underKeysSql(
  { connection }: QueryRunner,
  { column, policy }: EncryptedColumn,
  keys: readonly Pick<KeyInfo, 'id'>[],
): string {
  const cell = connection.driver.escape(column.databaseName);
  // Some databases have the prefix of bytes in hexadecimal.
  const prefixes = keys.flatMap(({ id }) =>
    Object.values(FORMATS).flatMap((format) => [
      `'${keyPrefix(id, format)}'`,
      `'${Buffer.from(keyHeader(id, format)).toString('hex').toUpperCase()}'`,
    ]),
  );
  return `${dialectOf(connection).sql.prefix(cell, policy.storage)} IN (${prefixes.join(', ')})`;
}
