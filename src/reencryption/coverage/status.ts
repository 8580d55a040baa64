import type { QueryRunner } from 'typeorm';

import { isBoundField } from '../../field/field-policy';
import { FORMATS, formatOfPrefix, keyIdOfPrefix } from '../../format/data-key-id';
import type { ColumnUse, CountedKey } from '../../keys/lifecycle/encrypted-rows';
import type { KeyInfo } from '../../keys/record/key-info';
import { isBranchName } from '../../keys/record/scope';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { requireTable } from '../../typeorm/tables/all-rows';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { cleartextRowsOfErased } from './lasting-values';
import { countByPrefix, countByScopeState } from './prefix-counts';
import type { PrefixCount, ScopeStateCount } from './prefix-counts';
import { scopeKeyIds } from './scope-rows';

/** Rows of one column under one version of its data key. */
export interface KeyCoverage {
  readonly keyId: string;
  /** Name and version of the key; `undefined` if the key table does not have it. */
  readonly name: string | undefined;
  readonly version: number | undefined;
  readonly state: KeyInfo['state'] | undefined;
  readonly rows: number;
}

/** The rows of one column with keys of scopes, in totals over all scopes. */
export interface ScopeCoverage {
  /** The kind of the scopes, such as `tenant`. */
  readonly kind: string;
  /** Rows under the active key of their scope. */
  readonly activeRows: number;
  /** Rows under an older key of their scope. */
  readonly olderRows: number;
  /** Rows of `olderRows` whose scope is to be erased, so that no run moves them. */
  readonly toBeErasedRows: number;
  /** Rows of erased scopes, whose values nobody can read. */
  readonly erasedRows: number;
  /** Rows under a common key, which `legacyScope` lets be read. */
  readonly commonRows: number;
  /** Rows of erased scopes, by their column, that hold no ciphertext, and stay readable. */
  readonly erasedCleartextRows: number;
}

/** The rows of one encrypted column. */
export interface ColumnStatus {
  readonly entity: string;
  readonly property: string;
  /** Table and column as the database knows them. */
  readonly table: string;
  readonly column: string;
  readonly rows: number;
  readonly nullRows: number;
  /** Rows that hold no ciphertext. */
  readonly cleartextRows: number;
  /** Rows whose ciphertext is not bound to them, although the property has `bindTo`. */
  readonly unboundRows: number;
  /** Rows for each data-key version, oldest first. For a column with keys of scopes, those of common keys. */
  readonly keys: readonly KeyCoverage[];
  /** Totals of the rows under keys of scopes; `null` for a column without. */
  readonly scopes: ScopeCoverage | null;
}

/** Counts the rows of every encrypted column by data key, in SQL, from the header prefix. */
export async function columnStatuses(
  installation: Installation,
  runner: QueryRunner,
  keyInfos: readonly KeyInfo[],
): Promise<ColumnStatus[]> {
  const keys = new Map(keyInfos.map((key) => [key.id, key]));
  const statuses: ColumnStatus[] = [];
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      const { counts, scoped } =
        encrypted.scope === undefined
          ? { counts: await countByPrefix(runner, table, encrypted), scoped: [] }
          : await countByScopeState(runner, table, encrypted);
      const status = columnStatus(table, encrypted, { counts, scoped, keys });
      const { cleartextRows, scopes } = status;
      if (scopes === null || cleartextRows === 0) statuses.push(status);
      else {
        const erasedCleartextRows = await cleartextRowsOfErased({ runner, table, encrypted });
        statuses.push({ ...status, scopes: { ...scopes, erasedCleartextRows } });
      }
    }
  }
  return statuses;
}

/**
 * Counts the rows that need one key, in every encrypted column, and those whose key is not in the key
 * table: if their id is damaged, they may be under any key that the column was encrypted with.
 */
export async function columnUses(
  installation: Installation,
  runner: QueryRunner,
  { id, name, purpose, provenIds }: CountedKey,
): Promise<ColumnUse[]> {
  const known = provenIds ?? new Set((await installation.store.list(runner)).map((key) => key.id));
  const isBranch = isBranchName(name);
  // If no column has the name any more, rows of any column may be under the key.
  const isOfAny = provenIds !== undefined || !installation.columns.keyNames.includes(name);
  const isRoot = provenIds === undefined && purpose === 'index';
  const uses: ColumnUse[] = [];
  for (const table of encryptedTables(installation)) {
    await requireTable(runner, table.metadata);
    for (const encrypted of table.columns) {
      // Not by the table of scope keys: a row written there must not hide rows under a data key.
      const counts = await countByPrefix(runner, table, encrypted);
      const status = columnStatus(table, encrypted, { counts, scoped: [], keys: new Map() });
      const { entity, property, table: tableName, column, rows, keys } = status;
      const others = keys.map(({ keyId }) => keyId).filter((keyId) => !known.has(keyId));
      const ofScopes = await scopeKeyIds(installation, runner, others);
      const mayBeOf = !isRoot && !isBranch && (isOfAny || encrypted.policy.keyName === name);
      uses.push({
        ...{ entity, property, table: tableName, column, rows },
        rowsUnderKey: total(keys.filter(({ keyId }) => keyId === id)),
        rowsUnderUnknownKeys: mayBeOf
          ? total(
              keys.filter(({ keyId }) => keyId !== id && !known.has(keyId) && !ofScopes.has(keyId)),
            )
          : 0,
      });
    }
  }
  return uses;
}

/** The counts of a column, and the keys that may be named in them. */
interface ColumnCounts {
  readonly counts: readonly PrefixCount[];
  readonly scoped: readonly ScopeStateCount[];
  readonly keys: ReadonlyMap<string, KeyInfo>;
}

function columnStatus(
  table: EncryptedTable,
  { column, policy, scope }: EncryptedColumn,
  { counts, scoped, keys }: ColumnCounts,
): ColumnStatus {
  const byKey = new Map<string, number>();
  let unboundRows = 0;
  for (const { prefix, rows } of counts) {
    const keyId = prefix === null ? undefined : keyIdOfPrefix(prefix);
    if (prefix === null || keyId === undefined) continue;
    byKey.set(keyId, (byKey.get(keyId) ?? 0) + rows);
    if (isBoundField(policy) && formatOfPrefix(prefix) !== FORMATS.bound) unboundRows += rows;
  }
  const nullRows = total(counts.filter(({ prefix }) => prefix === null));
  const rows = total(counts) + total(scoped);
  const coverage = [...byKey].map(([keyId, ofKey]) => coverageOf(keyId, ofKey, keys.get(keyId)));
  return {
    entity: policy.entity,
    property: policy.property,
    table: table.metadata.tablePath,
    column: column.databaseName,
    rows,
    nullRows,
    cleartextRows: rows - nullRows - total(coverage) - total(scoped),
    unboundRows,
    keys: coverage.sort((a, b) => (a.version ?? 0) - (b.version ?? 0)),
    scopes: scope === undefined ? null : scopeCoverage(scope.kind, scoped, coverage),
  };
}

function total(rows: readonly { readonly rows: number }[]): number {
  return rows.reduce((sum, each) => sum + each.rows, 0);
}

function coverageOf(keyId: string, rows: number, key: KeyInfo | undefined): KeyCoverage {
  return { keyId, name: key?.name, version: key?.version, state: key?.state, rows };
}

function scopeCoverage(
  kind: string,
  scoped: readonly ScopeStateCount[],
  keys: readonly KeyCoverage[],
): ScopeCoverage {
  const inState = (state: ScopeStateCount['state']): number =>
    total(scoped.filter((each) => each.state === state));
  const toBeErasedRows = inState('toBeErased');
  return {
    kind,
    activeRows: inState('active'),
    olderRows: inState('deactivated') + toBeErasedRows,
    toBeErasedRows,
    erasedRows: inState('erased'),
    commonRows: total(keys.filter(({ name }) => name !== undefined)),
    erasedCleartextRows: 0,
  };
}
