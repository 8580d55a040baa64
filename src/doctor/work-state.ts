import { columnStatuses } from '../reencryption/status';
import { encryptedTables } from '../reencryption/encrypted-table';
import { encryptedRows } from '../reencryption/encrypted-rows';
import type { KeyInfo } from '../keys/key-info';
import type { MaintenanceReport } from '../keys/key-maintenance';
import type { Installation } from '../typeorm/installation';
import { missingTables } from '../typeorm/missing-tables';
import { withConnection } from '../typeorm/with-connection';
import { absentKeys } from './absent-keys';
import type { WorkState } from './due';

/**
 * Collects what tells what is due.
 *
 * @param counted - whether the rows under each key are counted, for which whole tables are read.
 */
export async function workState(
  installation: Installation,
  { counted }: { readonly counted: boolean },
): Promise<WorkState> {
  const { dataSource, options } = installation;
  const missing = await missingTables(
    dataSource,
    encryptedTables(installation).map(({ metadata }) => metadata.tablePath),
  );
  const keyTable = await installation.store.exists();
  const keys = keyTable ? await installation.keys.list() : [];
  return {
    keyTable,
    absent: await withConnection(dataSource, undefined, async (runner) => {
      const records = keyTable ? await installation.store.list(runner) : undefined;
      return absentKeys(installation, records, runner);
    }),
    keyNames: installation.columns.keyNames,
    keys,
    unauthenticated: keyTable ? await installation.keys.operations.unauthenticated() : [],
    maintenance: keyTable ? await plannedMaintenance(installation) : null,
    now: options.now?.() ?? new Date(),
    columns:
      counted && keyTable && missing.length === 0 ? await countedColumns(installation, keys) : [],
    missingTables: missing,
  };
}

function plannedMaintenance(installation: Installation): Promise<MaintenanceReport> {
  return installation.keys.operations.maintain({ dryRun: true }, encryptedRows(installation));
}

function countedColumns(
  installation: Installation,
  keys: readonly KeyInfo[],
): Promise<WorkState['columns']> {
  return withConnection(installation.dataSource, undefined, (runner) =>
    columnStatuses(installation, runner, keys),
  );
}
