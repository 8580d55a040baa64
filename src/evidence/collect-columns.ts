import type { QueryRunner } from 'typeorm';

import { FULL_TOKEN_BITS } from '../crypto/token-mac';
import { isDataKeyId } from '../format/data-key-id';
import type { KeyInfo } from '../keys/record/key-info';
import type { IndexStatus } from '../reencryption/coverage/index-status';
import { withoutTokenSql } from '../reencryption/coverage/index-status';
import { coverageSql } from '../reencryption/coverage/prefix-counts';
import type { ColumnStatus } from '../reencryption/coverage/status';
import { encryptedTables } from '../reencryption/encrypted-table';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import type { Installation } from '../typeorm/installation/installation';
import { storedChecks } from '../typeorm/installation/missing-checks';
import type { StoredCheck } from '../typeorm/installation/missing-checks';
import { mayHoldOthers } from '../typeorm/metadata/encrypted-column';
import type { EncryptedColumn, IndexedColumn } from '../typeorm/metadata/encrypted-column';

import type { ColumnEvidence, IndexEvidence, UnencryptedColumn } from './column-evidence';
import { plain } from './plain';

/** A column without what its sampled values show. */
export type CountedColumn = Omit<ColumnEvidence, 'sample'>;

/** An encrypted column, and its table. */
export interface TableColumn {
  readonly table: EncryptedTable;
  readonly encrypted: EncryptedColumn;
}

/** What reading whole tables tells, and the keys that may be named in it. */
interface Counts {
  readonly columns: readonly ColumnStatus[];
  readonly indexes: readonly IndexStatus[];
  readonly keys: readonly KeyInfo[];
}

/** Returns the encrypted columns, in the order in which their rows are counted. */
export function tableColumns(installation: Installation): TableColumn[] {
  return encryptedTables(installation).flatMap((table) =>
    table.columns.map((encrypted) => ({ table, encrypted })),
  );
}

/** Describes the encrypted columns whose rows were counted. */
export async function columnEvidence(
  installation: Installation,
  runner: QueryRunner,
  counts: Counts,
): Promise<CountedColumn[]> {
  const checks = await storedChecks(installation, runner);
  return tableColumns(installation).flatMap((place, at) => {
    const { table, encrypted } = place;
    const { binding, policy } = encrypted;
    const status = counts.columns[at];
    if (status === undefined) return [];
    return {
      ...plain(status),
      sql: coverageSql(runner, table, encrypted),
      ...{ keyName: policy.keyName, type: policy.type, storage: policy.storage },
      boundTo: (binding?.columns ?? []).map(({ databaseName }) => databaseName),
      sealed: encrypted.isSealed,
      inTransition: mayHoldOthers(encrypted),
      indexes: encrypted.indexes.map((indexed) => indexEvidence(runner, place, indexed, counts)),
      check: checkEvidence(
        encrypted,
        checks.find((check) => check.encrypted === encrypted),
      ),
    };
  });
}

function indexEvidence(
  runner: QueryRunner,
  { table, encrypted }: TableColumn,
  { column: { databaseName: column }, policy }: IndexedColumn,
  { indexes, keys }: Counts,
): IndexEvidence {
  const { tablePath } = table.metadata;
  const status = indexes.find((each) => each.table === tablePath && each.column === column);
  const { exists = false, rowsWithoutToken = 0 } = status ?? {};
  const known = keys.filter(({ purpose, id }) => purpose === 'data' && isDataKeyId(id));
  const isCounted = exists && known.length > 0;
  return {
    ...{ name: policy.name, column, unique: policy.unique, bits: policy.bits ?? FULL_TOKEN_BITS },
    ...{ exists, rowsWithoutToken },
    sql: isCounted ? withoutTokenSql(runner, table, encrypted, column, known) : null,
  };
}

function checkEvidence(
  { check }: EncryptedColumn,
  stored: StoredCheck | undefined,
): ColumnEvidence['check'] {
  return {
    name: check?.constraint.name ?? null,
    present: check !== undefined && stored?.isMissing === false,
    outdated: stored?.outdated ?? null,
  };
}

const TEXT_TYPE = /char|text|clob|string|json|xml|enum|hstore/i;

/** Lists the text columns of the entities that are not encrypted. */
export function unencryptedColumns({ dataSource, columns }: Installation): UnencryptedColumn[] {
  const tokens = new Set(
    [...columns.byColumn.values()].flatMap(({ indexes }) => indexes.map(({ column }) => column)),
  );
  return dataSource.entityMetadatas
    .filter((metadata) => metadata.tableType !== 'entity-child')
    .flatMap((metadata) =>
      metadata.columns
        .filter((column) => !columns.byColumn.has(column) && !tokens.has(column))
        .map((column) => ({ column, type: dataSource.driver.normalizeType(column) }))
        .filter(({ column, type }) => !column.isVirtual && TEXT_TYPE.test(type))
        .map(({ column, type }) => ({
          ...{ entity: metadata.name, property: column.propertyPath },
          ...{ table: metadata.tablePath, column: column.databaseName, type },
        })),
    );
}
