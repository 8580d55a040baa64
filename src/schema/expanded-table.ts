import type { QueryRunner, Table } from 'typeorm';

import { ConfigurationError } from '../errors';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import type { TransitionColumn } from '../reencryption/foresight/cleartext-rows';
import { ciphertextCheck, isCiphertextSql } from '../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';
import { selectAllRows } from '../typeorm/tables/all-rows';

import type { MigrationScript } from './migration-draft';

/** Returns the error of a column that no migration can be generated for. */
export function columnRefused(encrypted: EncryptedColumn, problem: string): ConfigurationError {
  const { entity, property } = encrypted.policy;
  return new ConfigurationError(`${describeColumn(encrypted)}: ${problem}`, { entity, property });
}

/** Counts rows whose value is not a ciphertext. `stored` is SQL for the value in the form of the column's storage. */
export async function countCleartext(
  runner: QueryRunner,
  { metadata, name }: EncryptedTable,
  { policy }: EncryptedColumn,
  stored: string,
): Promise<number> {
  const condition = isCiphertextSql(runner.connection, stored, policy);
  const [row] = await selectAllRows<{ total: number | string }>(
    runner,
    metadata,
    `SELECT COUNT(*) AS total FROM ${name} WHERE NOT (${condition})`,
  );
  return Number(row?.total ?? 0);
}

/** A table that is being prepared for ciphertext: its present form, and the migration. */
export class ExpandedTable {
  readonly #dropped = new Set<string>();
  readonly #guarded = new Set<EncryptedColumn>();
  /** The present columns, whose cleartext is to be checked. */
  readonly inTransition: TransitionColumn[] = [];

  constructor(
    readonly runner: QueryRunner,
    readonly table: EncryptedTable,
    readonly live: Table,
    readonly script: MigrationScript,
  ) {}

  /** Whether a constraint or index is dropped for the first time, as several columns may share it. */
  firstDropOf(name: string): boolean {
    if (this.#dropped.has(name)) return false;
    this.#dropped.add(name);
    return true;
  }

  /** Notes in the plan what the old form loses. */
  noteDropped(encrypted: EncryptedColumn, name: string, definition: string): void {
    const { column, policy, indexes } = encrypted;
    this.script.notes.push(`${describeColumn(encrypted)}: drops "${name}" (${definition}).`);
    if (/\bUNIQUE\b/.test(definition) && !indexes.some((index) => index.policy.unique)) {
      this.script.notes.push(
        `${describeColumn(encrypted)}: nothing keeps its values unique then; @BlindIndex({ unique: true }) would, or with other properties uniqueWith: [...].`,
      );
    }
    // The library's own constraint is restored on ciphertext.
    const own = ciphertextCheck(column, policy, this.runner.connection);
    if (name !== own.name) this.guardDown(encrypted);
  }

  /** Notes in the plan that a column is no longer given a value, such as `DEFAULT 18`. */
  noteDefault(encrypted: EncryptedColumn, definition: string): void {
    if (/^DEFAULT NULL\b/i.test(definition)) return;
    this.script.notes.push(
      `${describeColumn(encrypted)}: drops ${definition}, which would be stored in clear. Set the value in the application.`,
    );
  }

  /** Returns the columns that the table has. Refuses those whose NULL constraint differs from the property's. */
  presentColumns(): EncryptedColumn[] {
    return this.table.columns.filter((encrypted) => {
      const { column } = encrypted;
      const live = this.live.findColumnByName(column.databaseName);
      if (live === undefined) return false;
      if (live.isNullable === column.isNullable) return true;
      throw columnRefused(
        encrypted,
        live.isNullable
          ? 'the column may be NULL, the property may not. Set nullable: true in @Encrypted, or make the column NOT NULL first.'
          : 'the column is NOT NULL, the property may be null. Leave nullable out of @Encrypted, or drop NOT NULL first.',
      );
    });
  }

  /** Refuses a column with rows that nothing could read after the migration. */
  async assertNoCleartext(encrypted: EncryptedColumn, stored: string): Promise<void> {
    if (encrypted.readsPlaintext || encrypted.previousFormat !== undefined) return;
    const rows = await countCleartext(this.runner, this.table, encrypted, stored);
    if (rows === 0) return;
    const name = describeColumn(encrypted);
    throw columnRefused(
      encrypted,
      `${String(rows)} rows hold cleartext, which the application could not read. ` +
        `Name the property in legacyPlaintext: ['${name}'], and run the command again.`,
    );
  }

  /** Makes `down` refuse while a column holds ciphertext, which its old form cannot hold or be read as. */
  guardDown(encrypted: EncryptedColumn): void {
    if (this.#guarded.has(encrypted)) return;
    this.#guarded.add(encrypted);
    const { column, policy } = encrypted;
    const { connection } = this.runner;
    const name = connection.driver.escape(column.databaseName);
    this.script.guardDown({
      query: `SELECT 1 FROM ${this.table.name} WHERE ${isCiphertextSql(connection, name, policy)} LIMIT 1`,
      message:
        `${describeColumn(encrypted)} still holds ciphertext, which the old column could not. ` +
        `Decrypt it first: npx field-encryption data decrypt --entity ${policy.entity}`,
    });
  }
}
