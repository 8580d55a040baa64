import type { QueryRunner } from 'typeorm';
import type { BackupOpener } from '../../keys/backup/backup-key';
import type { RestoredKey } from '../../keys/backup/restore-backup';
import { ScratchKeyStore, scratchKms } from '../../keys/backup/scratch-key-store';
import { KeyManager } from '../../keys/key-manager';
import { BlindIndex } from '../../field/blind-index';
import { FieldCipher } from '../../field/field-cipher';
import { FieldEncryptionError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import { keyHeader, keyPrefix } from '../../format/data-key-id';
import { selectAllRows } from '../../typeorm/tables/all-rows';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { Installation } from '../../typeorm/installation/installation';
import { prefixSql, columnStatuses } from './status';
import { encryptedTables } from '../encrypted-table';
import type { EncryptedTable } from '../encrypted-table';

/** What the keys of a backup made of the rows under one key, in one column. */
export interface DrillResult {
  readonly entity: string;
  readonly property: string;
  readonly keyId: string;
  /** Rows of the column under the key. */
  readonly rows: number;
  /** Rows that were decrypted with the restored key. */
  readonly read: number;
  /** Blind-index tokens of those rows that the restored index root gives again. */
  readonly tokens: number;
  /** Tokens for which it gives another: lookups would miss those rows. */
  readonly wrongTokens: number;
  /** Why one of them was not; `null` where all that were tried were read. */
  readonly failure: FieldEncryptionErrorCode | null;
}

/** What a drill found. */
export interface DrillReport {
  readonly backupId: string;
  readonly createdAt: Date;
  readonly restored: readonly RestoredKey[];
  readonly results: readonly DrillResult[];
  /** Whether every sample of every column under every key was read, and its tokens are right. */
  readonly ok: boolean;
}

/** A column as the keys of the backup read it. */
interface RestoredColumn {
  readonly cipher: FieldCipher;
  readonly indexes: readonly BlindIndex[];
}

/** What one row holds of a column. */
interface Sample {
  readonly stored: unknown;
  /** By index; NULL in a row that was written before there was the index. */
  readonly tokens: readonly unknown[];
}

/** Rows tried for each column and key. */
const SAMPLES = 3;

/**
 * Restores a backup into an empty scratch table under a scratch KMS, both in memory, and decrypts
 * rows of the database with it: a few of every column under every key, and computes their tokens
 * again. Changes nothing, and uses nothing of this application's keys.
 */
export async function drill(
  installation: Installation,
  file: string,
  opener: BackupOpener,
): Promise<DrillReport> {
  const { application = 'default', suite = 'xaes-256-gcm' } = installation.options;
  const store = new ScratchKeyStore();
  const keys = new KeyManager({ store, kms: scratchKms(), application, suite });
  const runner = installation.dataSource.createQueryRunner('master');
  try {
    const { backupId, createdAt, restored } = await keys.operations.restore(file, opener, {
      // Into memory, and only to read.
      adopt: true,
    });
    // Where the backup has no index root, the first token says so.
    await keys.confirm([], { index: true }).catch(() => undefined);
    const results = await readSamples(installation, runner, keys, application);
    const ok = results.every(({ failure, wrongTokens }) => failure === null && wrongTokens === 0);
    return { backupId, createdAt, restored, results, ok };
  } finally {
    await keys.close();
    await runner.release();
  }
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
    const restored = restoredColumn(encrypted, application, keys);
    for (const { keyId, rows } of statuses[at]?.keys ?? []) {
      const samples = await sample(runner, table, encrypted, keyId);
      await keys.load([keyPrefix(keyId)]);
      const { entity, property } = encrypted.policy;
      results.push({ entity, property, keyId, rows, ...tryAll(restored, samples) });
    }
  }
  return results;
}

async function sample(
  runner: QueryRunner,
  table: EncryptedTable,
  { column, policy, indexes }: EncryptedColumn,
  keyId: string,
): Promise<Sample[]> {
  const { driver } = runner.connection;
  const cell = driver.escape(column.databaseName);
  const tokens = indexes.map(
    (index, at) => `, ${driver.escape(index.column.databaseName)} AS token${String(at)}`,
  );
  const prefix = prefixSql(runner.connection, cell, policy.storage);
  const hexadecimal = Buffer.from(keyHeader(keyId)).toString('hex').toUpperCase();
  const rows = await selectAllRows<Readonly<Record<string, unknown>>>(
    runner,
    table.metadata,
    `SELECT ${cell} AS stored${tokens.join('')} FROM ${table.name} WHERE ${cell} IS NOT NULL ` +
      `AND ${prefix} IN ('${keyPrefix(keyId)}', '${hexadecimal}') LIMIT ${String(SAMPLES)}`,
  );
  return rows.map((row) => ({
    stored: row['stored'],
    tokens: indexes.map((_, at) => row[`token${String(at)}`]),
  }));
}

function restoredColumn(
  { policy, indexes }: EncryptedColumn,
  application: string,
  keys: KeyManager,
): RestoredColumn {
  return {
    cipher: new FieldCipher(policy, application, keys),
    indexes: indexes.map((index) => new BlindIndex(policy, index.policy, application, keys)),
  };
}

function tryAll(
  column: RestoredColumn,
  samples: readonly Sample[],
): Pick<DrillResult, 'read' | 'tokens' | 'wrongTokens' | 'failure'> {
  const tried = { read: 0, tokens: 0, wrongTokens: 0 };
  try {
    for (const { stored, tokens } of samples) {
      const value = column.cipher.decrypt(stored);
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
