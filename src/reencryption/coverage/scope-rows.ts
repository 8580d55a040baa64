import type { QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';
import type { ColumnUse } from '../../keys/lifecycle/encrypted-rows';
import type { ErasedRows } from '../../keys/scopes/erasure/erasure-receipt';
import type { ScopeRows } from '../../keys/scopes/erasure/scope-erasure';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { databaseFailure } from '../../typeorm/connection/transient-conflict';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { requireTable } from '../../typeorm/tables/all-rows';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { underKeysSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';

import { countWhere } from './prefix-counts';
import { requireErasable } from './lasting-values';
import { writersToEnd } from './open-writers';

/** Milliseconds to wait for open transactions by default. */
const PATIENCE_MS = 30_000;

/** Returns what an erasure does with the rows of a scope. */
export function scopeRows(
  installation: Installation,
  waitMs = PATIENCE_MS,
): ScopeRows<QueryRunner> {
  return {
    requireErasable: (scope) =>
      withConnection(installation.dataSource, undefined, (runner) =>
        requireErasable(installation, runner, scope),
      ),
    erase: async (scope, keyIds, runner) => {
      await requireErasable(installation, runner, scope);
      return eraseTokens(installation, runner, { kind: scope.kind, keyIds });
    },
    writersToEnd: () => writersToEnd(installation, waitMs),
  };
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
        await runner
          .query(`UPDATE ${table.name} SET ${token} = NULL WHERE ${where}`)
          .catch((error: unknown) => {
            throw explainUpdate(error, encrypted);
          });
      }
      erased.push({ entity, property, rows, tokens });
    }
  }
  return erased;
}

/** Names the table of the application on which the role lacks the right that an erasure takes. */
function explainUpdate(error: unknown, { column, policy }: EncryptedColumn): unknown {
  if (databaseFailure(error) !== 'forbidden') return error;
  const { entity, property } = policy;
  const { tablePath } = column.entityMetadata;
  return new ConfigurationError(
    `${entity}.${property}: the database role may not update ${tablePath}, in which an erasure empties the tokens of ` +
      `common indexes. Nothing was erased. Run it as a role with that right: GRANT UPDATE ON ${tablePath} TO …`,
    { entity, property, cause: error },
  );
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
