import { fieldEncryptionMigrations } from '../../../migrations';
import type { KeyPurpose } from '../../keys/record/key-record';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { explainAccess } from '../../typeorm/connection/table-access';
import { DataKeySchema, missingKeyColumns } from '../../typeorm/tables/data-key-table';
import { missingOwnTables } from '../../typeorm/tables/own-tables';
import type { Session } from '../load/session';
import type { CommandResult } from '../terminal/output';

/**
 * Creates the library's tables by the same migrations that applications list in their DataSource. When
 * TypeORM runs these later, they find the tables and are recorded. Existing tables stay as they are.
 */
export async function createTables({ dataSource }: Session): Promise<void> {
  const runner = dataSource.createQueryRunner('master');
  try {
    await runner.startTransaction();
    for (const Migration of fieldEncryptionMigrations) await new Migration().up(runner);
    await runner.commitTransaction();
  } catch (error) {
    if (runner.isTransactionActive) await runner.rollbackTransaction();
    throw explainAccess(error);
  } finally {
    await runner.release();
  }
}

/** A key that was created, or would be, in a dry run. */
interface CreatedKey {
  readonly purpose: KeyPurpose;
  readonly name: string;
}

/**
 * Creates the library's tables if they are missing, and the first version of every key that the entities
 * need. Can be run again: it changes nothing that exists.
 */
export async function init(
  session: Session,
  { dryRun }: { readonly dryRun: boolean },
): Promise<CommandResult> {
  const { fieldEncryption } = session;
  const tablesCreated = await missingOwnTables(session.dataSource);
  const columnsAdded = await columnsToAdd(session, tablesCreated);
  const isComplete = tablesCreated.length + columnsAdded.length === 0;
  if (!isComplete && !dryRun) await createTables(session);
  const keysCreated =
    dryRun && columnsAdded.length > 0
      ? []
      : await missingKeys(session, dryRun && tablesCreated.includes(keyTablePath(session)));
  // Even if nothing is missing: it proves that the KMS opens the keys.
  if (!dryRun) await fieldEncryption.ready();
  return {
    document: { dryRun, tablesCreated, columnsAdded, keysCreated },
    text: describe(session, { dryRun, tablesCreated, columnsAdded, keysCreated }),
  };
}

function keyTablePath({ dataSource }: Session): string {
  return dataSource.getMetadata(DataKeySchema).tablePath;
}

/** Lists the columns that a key table from an earlier version lacks. */
async function columnsToAdd(session: Session, tablesCreated: readonly string[]): Promise<string[]> {
  const table = keyTablePath(session);
  if (tablesCreated.includes(table)) return [];
  const missing = await withConnection(session.dataSource, undefined, missingKeyColumns);
  return missing.map((column) => `${table}.${column}`);
}

async function missingKeys({ installation }: Session, noTable: boolean): Promise<CreatedKey[]> {
  const { keyNames, needsIndexRoot } = installation.columns;
  const records = noTable ? [] : await installation.store.list();
  const missing = keyNames
    .filter((name) => !records.some((key) => key.purpose === 'data' && key.name === name))
    .map((name): CreatedKey => ({ purpose: 'data', name }));
  const hasIndexRoot = records.some(({ purpose }) => purpose === 'index');
  return needsIndexRoot && !hasIndexRoot
    ? [...missing, { purpose: 'index', name: 'index root' }]
    : missing;
}

function describe(
  { installation }: Session,
  result: {
    dryRun: boolean;
    tablesCreated: readonly string[];
    columnsAdded: readonly string[];
    keysCreated: readonly CreatedKey[];
  },
): string {
  const { dryRun, tablesCreated, columnsAdded, keysCreated } = result;
  const verb = dryRun ? 'Would create' : 'Created';
  const lines = [
    ...tablesCreated.map((table) => `${verb} table ${table}.`),
    ...columnsAdded.map((column) => `${dryRun ? 'Would add' : 'Added'} column ${column}.`),
    ...keysCreated.map(({ purpose, name }) =>
      purpose === 'data'
        ? `${verb} data key "${name}", version 1.`
        : `${verb} the root key of the blind indexes.`,
    ),
  ];
  if (installation.columns.keyNames.length === 0) {
    lines.push('No entity of this DataSource has encrypted columns, so no data key is needed.');
  }
  if (lines.length === 0) lines.push('Nothing to create: tables and keys are there.');
  if (!dryRun && installation.columns.keyNames.length > 0) lines.push('The keys are ready.');
  return lines.join('\n');
}
