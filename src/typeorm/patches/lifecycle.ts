import type { DataSource } from 'typeorm';

import { within } from '../../async/time-limit';
import { requireFips } from '../../crypto/fips';
import { hasNamedApplication } from '../declare/field-encryption-options';
import type { Installation } from '../installation/installation';
import { leaveToMigrations, leaveToSynchronize } from '../tables/own-tables';

import { override } from './override';
import { FieldEncryptionSubscriber } from './subscriber';

const SETTLE_MS = 2_000;

/** Ties the encrypted columns and the keys of a DataSource to its metadata, tables and connections. */
export function installLifecycle(installation: Installation): void {
  encryptBuiltMetadata(installation);
  prepareKeysAtStart(installation);
  closeKeysAtEnd(installation);
}

/** The method in which TypeORM builds metadata; protected, but the same in both majors. */
type BuildingDataSource = DataSource & { buildMetadatas(): Promise<void> };

function encryptBuiltMetadata(installation: Installation): void {
  const dataSource = installation.dataSource as BuildingDataSource;
  override(dataSource, 'buildMetadatas', (build) => async () => {
    await build();
    await installation.encryptMarkedColumns();
    leaveToMigrations(dataSource);
    // Not unless asked for: TypeORM waits for subscribers, entity by entity.
    if (installation.options.validate === true) {
      dataSource.subscribers.push(new FieldEncryptionSubscriber(installation));
    }
  });
}

/** Warns that nothing keeps the keys apart from another application's. */
function warnOfDefaultApplication({ columns, keys, options }: Installation): void {
  if (columns.keyNames.length === 0 || hasNamedApplication(options)) return;
  keys.tell({ type: 'applicationNotNamed' });
}

function prepareKeysAtStart(installation: Installation): void {
  const { dataSource } = installation;
  override(dataSource, 'initialize', (initialize) => async () => {
    requireFips(installation.options.profile);
    await initialize();
    warnOfDefaultApplication(installation);
    await installation.prepareAtStart();
    return dataSource;
  });
  override(
    dataSource,
    'runMigrations',
    (run) => (options) => keysAfterTables(installation, () => run(options)),
  );
  override(
    dataSource,
    'synchronize',
    (synchronize) => (dropBeforeSync) =>
      keysAfterTables(installation, async () => {
        if (dataSource.isInitialized) leaveToSynchronize(dataSource);
        await synchronize(dropBeforeSync);
        leaveToMigrations(dataSource);
      }),
  );
}

/**
 * Creates the first keys along with the tables, outside any transaction. If the key table is new, the keys
 * in memory are of one that was dropped: nothing may be encrypted under them.
 */
async function keysAfterTables<T>(
  installation: Installation,
  makeTables: () => Promise<T>,
): Promise<T> {
  const { dataSource, store, keys } = installation;
  // A table of an earlier version is an error, and the migration at hand may be its remedy.
  const isNew = dataSource.isInitialized && !(await store.exists().catch(() => true));
  const made = await makeTables();
  if (isNew) await keys.close();
  await installation.prepareAtStart();
  return made;
}

function closeKeysAtEnd(installation: Installation): void {
  const { dataSource } = installation;
  override(dataSource, 'dropDatabase', (drop) => async () => {
    await drop();
    // Nothing may be encrypted under keys whose rows are gone.
    await installation.keys.close();
  });
  override(dataSource, 'destroy', (destroy) => async () => {
    try {
      await installation.stop();
      await settleKeys(installation);
      // A write that is interrupted from here on is not a failure to report.
      installation.audit.anchor?.clear();
      await destroy();
    } finally {
      await installation.close();
    }
  });
}

/** Writes what is left to be said of the keys. A database that is away does not keep the process from ending. */
async function settleKeys({ keys, isOpen, hasScopes }: Installation): Promise<void> {
  await keys.addUsesAtEnd();
  if (!isOpen || !hasScopes) return;
  await within(SETTLE_MS, keys.scopes.active.creation.recordAllLate()).catch(() => undefined);
}
