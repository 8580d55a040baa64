import type { QueryRunner } from 'typeorm';
import type { BackupOpener } from '../keys/backup/backup-key';
import type { RestoredKey } from '../keys/backup/restore-backup';
import { ScratchKeyStore, scratchKms } from '../keys/backup/scratch';
import { KeyManager } from '../keys/key-manager';
import { FieldCipher } from '../field/field-cipher';
import { FieldEncryptionError } from '../errors';
import type { FieldEncryptionErrorCode } from '../errors';
import { keyHeader, keyPrefix } from '../format/data-key-id';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { prefixSql } from './prefix-sql';
import { encryptedTables } from './encrypted-table';
import type { EncryptedTable } from './encrypted-table';
import { columnStatuses } from './status';

/** What the keys of a backup made of the rows under one key, in one column. */
export interface DrillResult {
  readonly entity: string;
  readonly property: string;
  readonly keyId: string;
  /** Rows of the column under the key. */
  readonly rows: number;
  /** Rows that were decrypted with the restored key. */
  readonly read: number;
  /** Why one of them was not; `null` where all that were tried were read. */
  readonly failure: FieldEncryptionErrorCode | null;
}

/** What a drill found. */
export interface DrillReport {
  readonly backupId: string;
  readonly createdAt: Date;
  readonly restored: readonly RestoredKey[];
  readonly results: readonly DrillResult[];
  /** Whether every sample of every column under every key was read. */
  readonly ok: boolean;
}

/** Rows tried for each column and key. */
const SAMPLES = 3;

/**
 * Restores a backup into an empty scratch table under a scratch KMS, both in memory, and decrypts
 * rows of the database with it: a few of every column under every key. Changes nothing, and uses
 * nothing of this application's keys.
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
    const { backupId, createdAt, restored } = await keys.operations.restore(file, opener);
    const results = await readSamples(installation, runner, keys, application);
    const ok = results.every(({ failure }) => failure === null);
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
    const cipher = new FieldCipher(encrypted.policy, application, keys);
    for (const { keyId, rows } of statuses[at]?.keys ?? []) {
      const samples = await sample(runner, table, encrypted, keyId);
      await keys.load([keyPrefix(keyId)]);
      const { entity, property } = encrypted.policy;
      results.push({ entity, property, keyId, rows, ...decryptAll(cipher, samples) });
    }
  }
  return results;
}

async function sample(
  runner: QueryRunner,
  table: EncryptedTable,
  { column, policy }: EncryptedColumn,
  keyId: string,
): Promise<unknown[]> {
  const cell = runner.connection.driver.escape(column.databaseName);
  const prefix = prefixSql(runner.connection, cell, policy.storage);
  const hexadecimal = Buffer.from(keyHeader(keyId)).toString('hex').toUpperCase();
  const rows = (await runner.query(
    `SELECT ${cell} AS stored FROM ${table.name} WHERE ${cell} IS NOT NULL ` +
      `AND ${prefix} IN ('${keyPrefix(keyId)}', '${hexadecimal}') LIMIT ${String(SAMPLES)}`,
  )) as { stored: unknown }[];
  return rows.map(({ stored }) => stored);
}

function decryptAll(
  cipher: FieldCipher,
  samples: readonly unknown[],
): Pick<DrillResult, 'read' | 'failure'> {
  let read = 0;
  try {
    for (const stored of samples) {
      cipher.decrypt(stored);
      read += 1;
    }
    return { read, failure: null };
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    return { read, failure: error.code };
  }
}
