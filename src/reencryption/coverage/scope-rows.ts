import type { QueryRunner } from 'typeorm';

import { KeyStateError } from '../../errors';
import { keyIdOfPrefix } from '../../format/data-key-id';
import type { ColumnUse } from '../../keys/lifecycle/encrypted-rows';
import type { ErasedRows } from '../../keys/scopes/erasure/erasure-receipt';
import type { ScopeRows } from '../../keys/scopes/erasure/scope-erasure';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { requireTable, selectAllRows } from '../../typeorm/tables/all-rows';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { underKeysSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { countByScopeState } from './prefix-counts';
import { writersToEnd } from './open-writers';

/** Milliseconds to wait for open transactions by default. */
const PATIENCE_MS = 30_000;

/** Returns what an erasure does with the rows of a scope. */
export function scopeRows(
  installation: Installation,
  waitMs = PATIENCE_MS,
): ScopeRows<QueryRunner> {
  return {
    erase: async (kind, keyIds, runner) => {
      await requireMoved(installation, runner, kind);
      return eraseTokens(installation, runner, { kind, keyIds });
    },
    writersToEnd: () => writersToEnd(installation, waitMs),
  };
}

/**
 * Refuses an erasure while columns with keys of a kind of scopes hold values under a common key, which it would
 * leave readable.
 *
 * @throws {@link KeyStateError}
 */
export async function requireMoved(
  installation: Installation,
  runner: QueryRunner,
  kind: string,
): Promise<void> {
  const common = new Set((await installation.store.list(runner)).map(({ id }) => id));
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      if (encrypted.scope?.kind !== kind) continue;
      await requireTable(runner, table.metadata);
      const { counts } = await countByScopeState(runner, table, encrypted);
      const rows = counts
        .filter(({ prefix }) => common.has(keyIdOfPrefix(prefix ?? '') ?? ''))
        .reduce((sum, each) => sum + each.rows, 0);
      if (rows > 0) throw notMoved(encrypted, rows);
    }
  }
}

function notMoved({ policy }: EncryptedColumn, rows: number): KeyStateError {
  const { entity, property } = policy;
  const named = policy.readsUnscoped
    ? ''
    : `Add '${entity}.${property}' to the option legacyScope. `;
  return new KeyStateError(
    `${entity}.${property}: ${String(rows)} rows hold values under a common key, which the erasure of a scope would ` +
      `leave readable. Nothing was erased. ${named}Run \`field-encryption data reencrypt\`, and then erase; if the ` +
      'erasure is requested already, cancel it first, so that rows of the scope can be written.',
    { entity, property },
  );
}

/** Counts the rows under keys of a scope, and empties their tokens that are not made with its keys. */
async function eraseTokens(
  installation: Installation,
  runner: QueryRunner,
  { kind, keyIds }: { readonly kind: string; readonly keyIds: readonly string[] },
): Promise<ErasedRows[]> {
  const erased: ErasedRows[] = [];
  if (keyIds.length === 0) return erased;
  for (const table of encryptedTables(installation)) {
    await requireTable(runner, table.metadata);
    for (const encrypted of table.columns) {
      if (encrypted.scope?.kind !== kind) continue;
      const where = underKeysSql(
        runner,
        encrypted,
        keyIds.map((id) => ({ id })),
      );
      const rows = await countWhere(runner, table, where);
      if (rows === 0) continue;
      const { entity, property } = encrypted.policy;
      const tokens = encrypted.indexes
        .filter(({ isScoped }) => !isScoped)
        .map(({ column }) => column.databaseName);
      for (const name of tokens) {
        const token = runner.connection.driver.escape(name);
        await runner.query(`UPDATE ${table.name} SET ${token} = NULL WHERE ${where}`);
      }
      erased.push({ entity, property, rows, tokens });
    }
  }
  return erased;
}

/** Counts the rows of a table that meet a condition. */
export async function countWhere(
  runner: QueryRunner,
  table: EncryptedTable,
  where: string,
): Promise<number> {
  const [row] = await selectAllRows<{ total: number | string }>(
    runner,
    table.metadata,
    `SELECT COUNT(*) AS total FROM ${table.name} WHERE ${where}`,
  );
  return Number(row?.total ?? 0);
}

/** Counts the keys of scopes that a data key has sealed, which are lost with it. */
export async function sealedScopeKeys(
  { dataSource, hasScopes }: Installation,
  runner: QueryRunner,
  branchId: string,
): Promise<ColumnUse[]> {
  if (!hasScopes) return [];
  const metadata = dataSource.getMetadata(ScopeKeySchema);
  const keys = runner.manager.createQueryBuilder(ScopeKeySchema, 'k', runner).cache(false);
  const rows = await keys.clone().getCount();
  const under = keys.where(`k.branchId = :branchId AND k.sealed <> ''`, { branchId });
  return [
    {
      ...{ entity: metadata.name, property: 'sealed' },
      ...{ table: metadata.tablePath, column: 'sealed', rows },
      rowsUnderKey: await under.getCount(),
      rowsUnderUnknownKeys: 0,
    },
  ];
}

/** Returns those of some key ids that are of scopes. */
export async function scopeKeyIds(
  { hasScopes, keys }: Installation,
  runner: QueryRunner,
  ids: readonly string[],
): Promise<Set<string>> {
  if (!hasScopes || ids.length === 0) return new Set();
  const records = await keys.scopes.store.findByIds(ids, runner);
  return new Set(records.map(({ id }) => id));
}
