import type { QueryRunner } from 'typeorm';

import type { Scope } from '../../keys/record/scope';
import { isErased, isMark } from '../../keys/record/scope-key-record';
import type { ScopeKeyRecord, ScopeKeyState } from '../../keys/record/scope-key-record';
import { withConnection } from '../../typeorm/connection/lent-connection';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { underKeysSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { cleartextRowsOf } from './lasting-values';
import { countWhere } from './prefix-counts';
import type { ScopeCoverage } from './status';

/** A key of a scope. Never key bytes. */
export interface ScopeKeyInfo extends Pick<ScopeKeyRecord, 'id' | 'version' | 'state' | 'since'> {
  /** What it is for: values, or tokens of blind indexes. */
  readonly purpose: 'data' | 'index';
}

/** The rows of a column under the keys of one scope. */
export interface ScopeColumnStatus extends Pick<
  ScopeCoverage,
  'activeRows' | 'olderRows' | 'erasedRows'
> {
  readonly entity: string;
  readonly property: string;
  /** Rows of the scope, by their column, that hold no ciphertext, and that an erasure leaves readable. */
  readonly cleartextRows: number;
}

/** The keys of one scope, and the rows that need them. */
export interface ScopeStatus {
  readonly kind: string;
  readonly scope: string;
  /** `requested` while it is to be erased: nothing is written for it. */
  readonly state: 'active' | 'requested' | 'erased';
  /** Whether it is under a legal hold. */
  readonly held: boolean;
  /** By purpose, the newest version first; `since` is when a key got its state. */
  readonly keys: readonly ScopeKeyInfo[];
  /** Those with keys of its kind. Rows under a common key are of no scope. */
  readonly columns: readonly ScopeColumnStatus[];
}

/**
 * Returns the keys of a scope, and counts the rows that need them.
 *
 * @throws {@link KeyUnwrapError} for a mark that was edited
 */
export async function scopeStatus(installation: Installation, scope: Scope): Promise<ScopeStatus> {
  const { marks, store } = installation.keys.scopes;
  const keys = (await store.findAll(scope)).filter((record) => !isMark(record));
  const erasure = await marks.find(scope, 'erasure');
  return {
    ...{ kind: scope.kind, scope: scope.id },
    state: erasure === undefined ? 'active' : erasure.state === 'erased' ? 'erased' : 'requested',
    held: (await marks.find(scope, 'hold')) !== undefined,
    keys: keys.map(keyInfo),
    columns: await withConnection(installation.dataSource, undefined, (runner) =>
      columnsOf(installation, runner, scope, keys),
    ),
  };
}

function keyInfo(record: ScopeKeyRecord): ScopeKeyInfo {
  const { id, version, since } = record;
  const purpose = record.purpose === 'index' ? 'index' : 'data';
  return { id, purpose, version, state: stateOf(record), since };
}

function stateOf(record: ScopeKeyRecord): ScopeKeyState {
  return isErased(record) ? 'erased' : record.state;
}

async function columnsOf(
  installation: Installation,
  runner: QueryRunner,
  { kind }: Scope,
  records: readonly ScopeKeyRecord[],
): Promise<ScopeColumnStatus[]> {
  const keys = records.filter(({ id }) => id !== '');
  const keyIds = keys.map(({ id }) => id);
  const statuses: ScopeColumnStatus[] = [];
  for (const table of encryptedTables(installation)) {
    for (const encrypted of table.columns) {
      if (encrypted.scope?.kind !== kind) continue;
      const rows = (state: ScopeKeyState): Promise<number> =>
        rowsUnder(
          runner,
          table,
          encrypted,
          keys.filter((key) => stateOf(key) === state),
        );
      const { entity, property } = encrypted.policy;
      statuses.push({
        ...{ entity, property },
        activeRows: await rows('active'),
        olderRows: await rows('deactivated'),
        erasedRows: await rows('erased'),
        cleartextRows:
          encrypted.scope.column === undefined
            ? 0
            : await cleartextRowsOf({ runner, table, encrypted }, keyIds),
      });
    }
  }
  return statuses;
}

async function rowsUnder(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
  keys: readonly ScopeKeyRecord[],
): Promise<number> {
  return keys.length === 0 ? 0 : countWhere(runner, table, underKeysSql(runner, encrypted, keys));
}
