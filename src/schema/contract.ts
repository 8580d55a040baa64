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

/**
 * Plans the last migration of encrypted columns, which adds the CHECK constraints that keep cleartext out,
 * except for `@Encrypted({ check: false })`, and drops those of before `bindTo` or keys of scopes. They equal
 * those of `migration:generate`, but on PostgreSQL a second migration validates the rows, without blocking writers.
 *
 * @throws {@link ConfigurationError} while a column holds cleartext
 */
export async function planContract(installation: Installation): Promise<MigrationPlan> {
  const { dataSource } = installation;
  return planMigrations(dataSource, async (runner, script) => {
    const validations: string[] = [];
    for (const table of encryptedTables(installation)) {
      const { missing, outdated } = await changesOf(runner, table, script);
      const path = table.metadata.tablePath;
      if (dataSource.options.type === 'postgres') {
        for (const check of outdated) dropValidated(script, table, check);
        validations.push(...missing.map((check) => addUnvalidated(script, table, check)));
      } else {
        if (outdated.length > 0) await runner.dropCheckConstraints(path, outdated);
        if (missing.length > 0) await runner.createCheckConstraints(path, missing);
      }
    }
    return validationDraft(validations);
  });
}

/** What the constraints of a table lack, and have too much. */
interface CheckChanges {
  readonly missing: TableCheck[];
  readonly outdated: TableCheck[];
}

async function changesOf(
  runner: QueryRunner,
  table: EncryptedTable,
  { notes }: MigrationScript,
): Promise<CheckChanges> {
  const live = await catalogOf(runner).liveTable(runner, table.metadata);
  const changes: CheckChanges = { missing: [], outdated: [] };
  // A table that does not exist yet gets them from migration:generate.
  if (live === undefined) return changes;
  for (const encrypted of table.columns) {
    const { check, column, policy } = encrypted;
    if (check === undefined) {
      notes.push(`${describeColumn(encrypted)}: ${whyUnchecked(encrypted)}`);
      continue;
    }
    const other = otherCiphertextCheck(column, policy, runner.connection);
    changes.outdated.push(...live.checks.filter(({ name }) => name === other.name));
    if (live.checks.some(({ name }) => name === check.constraint.name)) continue;
    await assertEncrypted(runner, table, live, encrypted);
    changes.missing.push(TableCheck.create(check.constraint));
  }
  return changes;
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

/** `down` fails while there are values that the constraint would refuse. */
function dropValidated(script: MigrationScript, { name }: EncryptedTable, check: TableCheck): void {
  const constraint = `"${String(check.name)}"`;
  script.step(
    `ALTER TABLE ${name} DROP CONSTRAINT ${constraint}`,
    `ALTER TABLE ${name} ADD CONSTRAINT ${constraint} CHECK (${String(check.expression)})`,
  );
}

function addUnvalidated(
  script: MigrationScript,
  { name }: EncryptedTable,
  check: TableCheck,
): string {
  const constraint = `"${String(check.name)}"`;
  script.step(
    `ALTER TABLE ${name} ADD CONSTRAINT ${constraint} CHECK (${String(check.expression)}) NOT VALID`,
    `ALTER TABLE ${name} DROP CONSTRAINT ${constraint}`,
  );
  return `ALTER TABLE ${name} VALIDATE CONSTRAINT ${constraint}`;
}

/** Returns the migration that validates, in a transaction of its own: ADD CONSTRAINT holds its lock until the end of its own. */
function validationDraft(up: readonly string[]): MigrationDraft | undefined {
  return up.length === 0
    ? undefined
    : { suffix: 'Validate', withoutTransaction: false, up, down: [], downGuards: [] };
}
