import { performance } from 'node:perf_hooks';
import type { QueryRunner } from 'typeorm';

import { FieldEncryptionError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import { BlindIndex } from '../../field/blind-index';
import { FieldCipher } from '../../field/field-cipher';
import { keyPrefix } from '../../format/data-key-id';
import type { BackupOpener } from '../../keys/backup/backup-key';
import type { RestoredKey } from '../../keys/backup/restore-backup';
import { ScratchKeyStore, scratchKms } from '../../keys/backup/scratch-key-store';
import { KeyManager } from '../../keys/key-manager';
import type { Installation } from '../../typeorm/installation/installation';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { RowBinding } from '../../typeorm/metadata/row-binding';
import { selectAllRows } from '../../typeorm/tables/all-rows';
import { underKeysSql } from '../database/prefix-sql';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

import { columnStatuses } from './status';

/** The result of a drill for the rows under one key in one column. */
export interface DrillResult {
  readonly entity: string;
  readonly property: string;
  readonly keyId: string;
  /** Rows of the column under the key. */
  readonly rows: number;
  /** Sampled rows that the restored key decrypted. */
  readonly read: number;
  /** Blind-index tokens of those rows that the restored index root reproduced. */
  readonly tokens: number;
  /** Tokens that it did not reproduce: lookups would miss those rows. */
  readonly wrongTokens: number;
  /** Why a row was not decrypted; `null` if all samples were. */
  readonly failure: FieldEncryptionErrorCode | null;
}

/** The findings of a drill. */
export interface DrillReport {
  readonly backupId: string;
  readonly createdAt: Date;
  readonly restored: readonly RestoredKey[];
  readonly results: readonly DrillResult[];
  /** Columns with keys of scopes, which were left out: the rows of these keys are in no backup of keys. */
  readonly leftOut: readonly Pick<DrillResult, 'entity' | 'property'>[];
  /** Whether every sample of every other column under every key was decrypted and its tokens are right. */
  readonly ok: boolean;
}

/** A column with other keys than those of the DataSource. */
interface ColumnCopy {
  readonly binding: RowBinding | undefined;
  readonly cipher: FieldCipher;
  readonly indexes: readonly BlindIndex[];
}

/** A stored value and its tokens. */
interface Sample {
  readonly stored: unknown;
  /** One for each index; NULL in a row that is older than the index. */
  readonly tokens: readonly unknown[];
  /** Of the columns that the value is bound to. */
  readonly bound: readonly unknown[];
}

/** Rows sampled for each column and key. */
const SAMPLES = 3;

/**
 * Restores a backup into an empty scratch table under a scratch KMS, both in memory, decrypts a few
 * rows of every column under every key with it, and computes their tokens again. Changes nothing but the
 * audit log, and uses none of this application's keys.
 */
export async function drill(
  installation: Installation,
  file: string,
  opener: BackupOpener,
): Promise<DrillReport> {
  const begun = performance.now();
  const report = await tryBackup(installation, file, opener);
  const { backupId: reference, restored, ok } = report;
  const outcome = ok ? 'done' : 'failed';
  // The time that a recovery takes, as far as it can be tried.
  const counts = { keys: restored.length, ms: Math.ceil(performance.now() - begun) };
  // Only noted: a drill is also for the day on which the KMS of the log is away.
  await installation.audit.note({ operation: 'drill', outcome, reference, counts });
  return report;
}

async function tryBackup(
  installation: Installation,
  file: string,
  opener: BackupOpener,
): Promise<DrillReport> {
  const { application, suite } = installation.options;
  const store = new ScratchKeyStore();
  const keys = new KeyManager({ store, kms: scratchKms(), application, suite });
  const runner = installation.dataSource.createQueryRunner('master');
  try {
    const { backupId, createdAt, restored } = await keys.operations.restore(file, opener, {
      // Into memory, and only to read.
      adopt: true,
    });
    // If the backup has no index root, the first token says so.
    await keys.confirm([], { index: true }).catch(() => undefined);
    const results = await readSamples(installation, runner, keys, application);
    const ok = results.every(({ failure, wrongTokens }) => failure === null && wrongTokens === 0);
    return { backupId, createdAt, restored, results, leftOut: scopedColumns(installation), ok };
  } finally {
    await keys.close();
    await runner.release();
  }
}

function scopedColumns(installation: Installation): DrillReport['leftOut'] {
  return encryptedTables(installation)
    .flatMap(({ columns }) => columns)
    .filter(({ scope }) => scope !== undefined)
    .map(({ policy: { entity, property } }) => ({ entity, property }));
}

async function readSamples(
  installation: Installation,
  runner: QueryRunner,
  keys: KeyManager,
  application: string,
): Promise<DrillResult[]> {
  const statuses = await columnStatuses(installation, runner, []);
  const columns = encryptedTables(installation).flatMap((table) =>
    table.columns.map((encrypted) => ({ table, encrypted })),
  );
  const results: DrillResult[] = [];
  for (const [at, { table, encrypted }] of columns.entries()) {
    if (encrypted.scope !== undefined) continue;
    const restored = columnCopy(encrypted, application, keys);
    for (const { keyId, rows } of statuses[at]?.keys ?? []) {
      const samples = await sample(runner, table, encrypted, { keyId, limit: SAMPLES });
      await keys.load([keyPrefix(keyId)]);
      const { entity, property } = encrypted.policy;
      results.push({ entity, property, keyId, rows, ...tryAll(restored, samples) });
    }
  }
  return results;
}

/** Reads some values of a column, under a key or any. */
export async function sample(
  runner: QueryRunner,
  table: EncryptedTable,
  encrypted: EncryptedColumn,
  { keyId, limit }: { readonly keyId?: string; readonly limit: number },
): Promise<Sample[]> {
  const { binding, column, indexes } = encrypted;
  const { driver } = runner.connection;
  const cell = driver.escape(column.databaseName);
  const tokens = indexes.map(
    (index, at) => `, ${driver.escape(index.column.databaseName)} AS token${String(at)}`,
  );
  const bound = (binding?.columns ?? []).map(
    ({ databaseName }, at) => `, ${driver.escape(databaseName)} AS bound${String(at)}`,
  );
  const where =
    keyId === undefined ? `${cell} IS NOT NULL` : underKeysSql(runner, encrypted, [{ id: keyId }]);
  const rows = await selectAllRows<Readonly<Record<string, unknown>>>(
    runner,
    table.metadata,
    `SELECT ${cell} AS stored${[...tokens, ...bound].join('')} FROM ${table.name} ` +
      `WHERE ${where} LIMIT ${String(limit)}`,
  );
  return rows.map((row) => ({
    stored: row['stored'],
    tokens: indexes.map((_, at) => row[`token${String(at)}`]),
    bound: bound.map((_, at) => row[`bound${String(at)}`]),
  }));
}

/** Returns a column with the keys of a manager in memory, which has none of scopes. */
export function columnCopy(
  { binding, indexes, ...encrypted }: EncryptedColumn,
  application: string,
  keys: KeyManager,
): ColumnCopy {
  const policy = { ...encrypted.policy, isScoped: false };
  return {
    binding,
    cipher: new FieldCipher(policy, application, keys),
    indexes: indexes.map((index) => new BlindIndex(policy, index.policy, application, keys)),
  };
}

function tryAll(
  column: ColumnCopy,
  samples: readonly Sample[],
): Pick<DrillResult, 'read' | 'tokens' | 'wrongTokens' | 'failure'> {
  const tried = { read: 0, tokens: 0, wrongTokens: 0 };
  try {
    for (const { stored, tokens, bound } of samples) {
      const context = column.binding?.contextOf((i) => bound[i]);
      const value = column.cipher.decrypt(stored, context);
      tried.read += 1;
      for (const [at, index] of column.indexes.entries()) {
        if (typeof tokens[at] !== 'string') continue;
        if (index.token(value) === tokens[at]) tried.tokens += 1;
        else tried.wrongTokens += 1;
      }
    }
    return { ...tried, failure: null };
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    return { ...tried, failure: error.code };
  }
}
