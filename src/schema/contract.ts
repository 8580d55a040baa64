import { TableCheck } from 'typeorm';
import type { QueryRunner, Table } from 'typeorm';

import { encryptedTables } from '../reencryption/encrypted-table';
import type { EncryptedTable } from '../reencryption/encrypted-table';
import { catalogOf } from '../typeorm/dialect/dialect-of';
import type { Installation } from '../typeorm/installation/installation';
import { otherCiphertextCheck } from '../typeorm/metadata/ciphertext-check';
import { describeColumn } from '../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../typeorm/metadata/encrypted-column';

import { columnRefused, countCleartext } from './expanded-table';
import { planMigrations } from './migration-draft';
import type { MigrationDraft, MigrationPlan, MigrationScript } from './migration-draft';
import type { CheckChanges } from './schema-changes';
import { schemaChangesOf } from './schema-changes-of';

/**
 * Plans the last migration of encrypted columns, which adds the CHECK constraints that keep cleartext out,
 * except for `@Encrypted({ check: false })`, and drops those of before `bindTo` or keys of scopes. They equal
 * those of `migration:generate`, but on PostgreSQL a second migration validates the rows, without blocking writers.
 *
 * @throws {@link ConfigurationError} while a column holds cleartext
 */
export async function planContract(installation: Installation): Promise<MigrationPlan> {
  const { dataSource } = installation;
  const { changeChecks } = schemaChangesOf(dataSource);
  return planMigrations(dataSource, async (runner, script) => {
    const validations: string[] = [];
    for (const table of encryptedTables(installation)) {
      const changes = await changesOf(runner, table, script);
      validations.push(...(await changeChecks({ runner, table, script }, changes)));
    }
    return validationDraft(validations);
  });
}

async function changesOf(
  runner: QueryRunner,
  table: EncryptedTable,
  { notes }: MigrationScript,
): Promise<CheckChanges> {
  const live = await catalogOf(runner).liveTable(runner, table.metadata);
  const missing: TableCheck[] = [];
  const outdated: TableCheck[] = [];
  // A table that does not exist yet gets them from migration:generate.
  if (live === undefined) return { missing, outdated };
  for (const encrypted of table.columns) {
    const { check, column, policy } = encrypted;
    if (check === undefined) {
      notes.push(`${describeColumn(encrypted)}: ${whyUnchecked(encrypted)}`);
      continue;
    }
    const other = otherCiphertextCheck(column, policy, runner.connection);
    // Not as the database has it, whose text not every one takes back.
    if (live.checks.some(({ name }) => name === other.name)) {
      outdated.push(TableCheck.create(other));
    }
    if (live.checks.some(({ name }) => name === check.constraint.name)) continue;
    await assertEncrypted(runner, table, live, encrypted);
    missing.push(TableCheck.create(check.constraint));
  }
  return { missing, outdated };
}

function whyUnchecked({ readsPlaintext, previousFormat }: EncryptedColumn): string {
  if (readsPlaintext) return 'left out, since legacyPlaintext names it.';
  return previousFormat === undefined
    ? 'left out, since @Encrypted has check: false.'
    : 'left out, since previousFormats names it.';
}

async function assertEncrypted(
  runner: QueryRunner,
  table: EncryptedTable,
  live: Table,
  encrypted: EncryptedColumn,
): Promise<void> {
  const { column, policy } = encrypted;
  const { driver } = runner.connection;
  const isExpanded =
    live.findColumnByName(column.databaseName)?.type === driver.normalizeType(column);
  if (!isExpanded) {
    throw columnRefused(
      encrypted,
      'the column does not have the type that holds ciphertext. Run the migration of "schema expand" first.',
    );
  }
  const rows = await countCleartext(runner, table, encrypted, driver.escape(column.databaseName));
  if (rows > 0) {
    throw columnRefused(
      encrypted,
      `${String(rows)} rows hold cleartext. Encrypt them first: npx field-encryption data encrypt --entity ${policy.entity}`,
    );
  }
}

/** Returns the migration that validates, in a transaction of its own. */
function validationDraft(up: readonly string[]): MigrationDraft | undefined {
  return up.length === 0
    ? undefined
    : {
        suffix: 'Validate',
        withoutTransaction: false,
        up: up.map((sql) => ({ sql })),
        ...{ down: [], upGuards: [], downGuards: [] },
      };
}
