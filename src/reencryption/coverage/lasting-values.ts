import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { KeyStateError } from '../../errors';
import { isDataKeyId, keyIdOfPrefix } from '../../format/data-key-id';
import type { Scope } from '../../keys/record/scope';
import { escapedTable } from '../../typeorm/dialect/escaped-table';
import type { Installation } from '../../typeorm/installation/installation';
import { isCiphertextSql } from '../../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { requireTable } from '../../typeorm/tables/all-rows';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { scopeIdSql } from '../database/scope-id-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { countByScopeState, countWhere } from './prefix-counts';

/** Where the rows of one column are counted. */
interface Counted {
  readonly runner: QueryRunner;
  readonly table: EncryptedTable;
  readonly encrypted: EncryptedColumn;
}

/**
 * Refuses an erasure that would leave values readable: while columns with keys of the kind hold values under a common
 * key, or rows of the scope hold cleartext.
 *
 * @throws {@link KeyStateError}
 */
export async function requireErasable(
  installation: Installation,
  runner: QueryRunner,
  scope: Scope,
): Promise<void> {
  const common = new Set((await installation.store.list(runner)).map(({ id }) => id));
  const { store } = installation.keys.scopes;
  const keyIds = (await store.findAll(scope, runner)).map(({ id }) => id).filter(isDataKeyId);
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      if (encrypted.scope?.kind !== scope.kind) continue;
      await requireTable(runner, table.metadata);
      const counted = { runner, table, encrypted };
      const ofCommon = await commonRows(counted, common);
      if (ofCommon > 0) throw notMoved(encrypted, ofCommon);
      const clear = await cleartextRowsOf(counted, keyIds);
      if (clear > 0) throw notEncrypted(encrypted, clear);
    }
  }
}

async function commonRows(
  { runner, table, encrypted }: Counted,
  common: ReadonlySet<string>,
): Promise<number> {
  const { counts } = await countByScopeState(runner, table, encrypted);
  return counts
    .filter(({ prefix }) => common.has(keyIdOfPrefix(prefix ?? '') ?? ''))
    .reduce((sum, { rows }) => sum + rows, 0);
}

/**
 * Counts the rows of a scope, by their column, that hold no ciphertext. Where no column tells the scope of a row, all
 * such rows may be of it.
 *
 * @param keyIds - of the keys and marks of the scope, whose id may be that of a person: no statement has it.
 */
export async function cleartextRowsOf(
  { runner, table, encrypted }: Counted,
  keyIds: readonly string[],
): Promise<number> {
  const column = encrypted.scope?.column;
  if (keyIds.length === 0) return 0;
  const ids = keyIds.map((id) => `'${id}'`).join(', ');
  const isOfScope =
    column === undefined ? 'TRUE' : scopeAmongSql(runner, column, `k.id IN (${ids})`);
  return countWhere(runner, table, `${isCleartextSql(runner, encrypted)} AND ${isOfScope}`);
}

/** Counts the rows of erased scopes, by their column, that hold no ciphertext. */
export async function cleartextRowsOfErased({
  runner,
  table,
  encrypted,
}: Counted): Promise<number> {
  const { column, kind } = encrypted.scope ?? {};
  if (column === undefined || kind === undefined) return 0;
  const erased = `k.kind = '${kind}' AND k.purpose = 'erasure' AND k.state = 'erased'`;
  const isOfErased = scopeAmongSql(runner, column, erased);
  return countWhere(runner, table, `${isCleartextSql(runner, encrypted)} AND ${isOfErased}`);
}

/** Returns SQL for whether a column names the scope of one of some rows `k` of the table of scope keys. */
function scopeAmongSql(
  { connection }: QueryRunner,
  column: ColumnMetadata,
  condition: string,
): string {
  const keys = escapedTable(connection, connection.getMetadata(ScopeKeySchema));
  return `${scopeIdSql(connection, column)} IN (SELECT k.scope FROM ${keys} k WHERE ${condition})`;
}

function isCleartextSql({ connection }: QueryRunner, { column, policy }: EncryptedColumn): string {
  const cell = connection.driver.escape(column.databaseName);
  return `${cell} IS NOT NULL AND NOT (${isCiphertextSql(connection, cell, policy)})`;
}

/** An erasure that was requested has to be cancelled before a row of the scope can be written. */
const THEN_ERASE =
  'and then erase; if the erasure is requested already, cancel it first, so that rows of the scope can be written.';

function notMoved(encrypted: EncryptedColumn, rows: number): KeyStateError {
  const { entity, property, readsUnscoped } = encrypted.policy;
  const named = readsUnscoped ? '' : `Add '${entity}.${property}' to the option legacyScope. `;
  return new KeyStateError(
    `${describeColumn(encrypted)}: ${String(rows)} rows hold values under a common key, which the erasure of a scope ` +
      `would leave readable. Nothing was erased. ${named}Run \`field-encryption data reencrypt\`, ${THEN_ERASE}`,
    { entity, property },
  );
}

function notEncrypted(encrypted: EncryptedColumn, rows: number): KeyStateError {
  const { readsPlaintext, previousFormat, scope } = encrypted;
  const { entity, property } = encrypted.policy;
  const kind = String(scope?.kind);
  const isNamed = readsPlaintext || previousFormat !== undefined;
  const named = isNamed ? '' : `Add '${entity}.${property}' to the option legacyPlaintext. `;
  const [whose, remedy] =
    scope?.column === undefined
      ? [`of which nothing says the ${kind}`, `Save them again, each in the context of its ${kind}`]
      : [`of the ${kind}`, 'Run `field-encryption data encrypt --scope <id>`'];
  return new KeyStateError(
    `${describeColumn(encrypted)}: ${String(rows)} rows ${whose} hold no ciphertext but cleartext, or values of another ` +
      `library, which the erasure would leave readable. Nothing was erased. ${named}${remedy}, or delete them, ${THEN_ERASE}`,
    { entity, property },
  );
}
