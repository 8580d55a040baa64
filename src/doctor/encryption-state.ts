import type { MaintenanceReport } from '../keys/lifecycle/key-maintenance';
import type { KeyInfo } from '../keys/record/key-info';
import type { ScopeCount } from '../keys/scopes/scope-key-store';
import { encryptedRows } from '../reencryption/coverage/key-uses';
import { columnStatuses } from '../reencryption/coverage/status';
import type { ColumnStatus } from '../reencryption/coverage/status';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import { missingTables } from '../typeorm/connection/table-access';
import type { Installation } from '../typeorm/installation/installation';
import { ScopeKeySchema } from '../typeorm/tables/scope-key-table';

import { absentKeys } from './absent-keys';
import type { AbsentKey } from './absent-keys';

/** The state of the keys, and of the rows that need them. */
export interface EncryptionState {
  readonly keyTable: boolean;
  /** Key names that the entities write with. */
  readonly keyNames: readonly string[];
  readonly keys: readonly KeyInfo[];
  /** Keys that the entities need and the key table does not have. */
  readonly absent: readonly AbsentKey[];
  /** Empty if rows were not counted. */
  readonly columns: readonly ColumnStatus[];
  /** The number of scopes by kind and state; empty if rows were not counted. */
  readonly scopes: readonly ScopeCount[];
  /** Keys of every purpose that somebody without the KMS could have made. */
  readonly unauthenticated: readonly KeyInfo[];
  /** The report of `keys maintain --dry-run`; `null` without a key table. */
  readonly maintenance: MaintenanceReport | null;
  /** The time by which keys expire. */
  readonly now: Date;
  /** Tables of encrypted entities that the database does not have. */
  readonly missingTables: readonly string[];
}

/**
 * Collects the state that tasks of operators follow from.
 *
 * @param counted - whether to count the rows under each key, which reads whole tables.
 */
export async function encryptionState(
  installation: Installation,
  { counted }: { readonly counted: boolean },
): Promise<EncryptionState> {
  const { dataSource, options } = installation;
  const missing = await missingTables(dataSource, neededTables(installation));
  const keyTable = await installation.store.exists();
  const isCounted = counted && keyTable && missing.length === 0;
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
    columns: isCounted ? await countedColumns(installation, keys) : [],
    scopes:
      isCounted && installation.hasScopes ? await installation.keys.scopes.store.countScopes() : [],
    missingTables: missing,
  };
}

/** Returns the tables of encrypted entities, and that of the keys of scopes where there are any. */
function neededTables(installation: Installation): string[] {
  const { dataSource, hasScopes } = installation;
  return [
    ...encryptedTables(installation).map(({ metadata }) => metadata.tablePath),
    ...(hasScopes ? [dataSource.getMetadata(ScopeKeySchema).tablePath] : []),
  ];
}

function plannedMaintenance(installation: Installation): Promise<MaintenanceReport> {
  return installation.keys.operations.maintain({ dryRun: true }, encryptedRows(installation));
}

function countedColumns(
  installation: Installation,
  keys: readonly KeyInfo[],
): Promise<EncryptionState['columns']> {
  return withConnection(installation.dataSource, undefined, (runner) =>
    columnStatuses(installation, runner, keys),
  );
}
