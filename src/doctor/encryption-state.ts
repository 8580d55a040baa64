import type { QueryRunner } from 'typeorm';

import type { Backend } from '../crypto/native';
import type { MaintenanceReport } from '../keys/lifecycle/maintenance-report';
import type { KeyInfo } from '../keys/record/key-info';
import type { ScopeCount } from '../keys/scopes/scope-key-store';
import { earlierBranches } from '../keys/scopes/scope-resealing';
import { indexStatuses } from '../reencryption/coverage/index-status';
import type { IndexStatus } from '../reencryption/coverage/index-status';
import { encryptedRows } from '../reencryption/coverage/key-uses';
import { columnStatuses } from '../reencryption/coverage/status';
import type { ColumnStatus } from '../reencryption/coverage/status';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import { missingTables } from '../typeorm/connection/table-access';
import type { Installation } from '../typeorm/installation/installation';
import { declaredKinds, describeColumn, mayHoldOthers } from '../typeorm/metadata/encrypted-column';
import { ScopeKeySchema } from '../typeorm/tables/scope-key-table';

import { absentKeys } from './absent-keys';
import type { AbsentKey } from './absent-keys';
import { approvalState } from './approval-state';
import type { ApprovalState } from './approval-state';
import { indexRootState, NO_ROOTS } from './index-tasks';
import type { IndexRootState } from './index-tasks';
import type { OperatorTask } from './operator-task';

/** The rows of every encrypted column, and of every blind index. */
export interface EncryptionStatus extends Array<ColumnStatus> {
  /** The implementation of the AES suites and of tokens in this process. */
  readonly backend: Backend;
  readonly indexes: readonly IndexStatus[];
  /** The number of scopes by kind and state, under a legal hold included; empty without keys of scopes. */
  readonly scopes: readonly ScopeCount[];
  /** What an operator has to do, most urgent first. */
  readonly due: readonly OperatorTask[];
}

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
  /** Keys of scopes, and marks, that are not sealed by the newest branch key; 0 if rows were not counted. */
  readonly toReseal: number;
  /** Empty if rows were not counted. */
  readonly indexes: readonly IndexStatus[];
  readonly indexRoots: IndexRootState;
  /** Properties, as `Entity.property`, whose columns may hold values that are not encrypted. */
  readonly inTransition: ReadonlySet<string>;
  /** Properties with keys of scopes, as `Entity.property`, that `legacyScope` names. */
  readonly legacyScope: ReadonlySet<string>;
  /** Keys of every purpose that somebody without the KMS could have made. */
  readonly unauthenticated: readonly KeyInfo[];
  /** The report of `keys maintain --dry-run`; `null` without a key table. */
  readonly maintenance: MaintenanceReport | null;
  readonly approvals: ApprovalState;
  /** The time by which keys expire. */
  readonly now: Date;
  /** Tables of encrypted entities that the database does not have. */
  readonly missingTables: readonly string[];
}

/** Collects the state that `operatorTasks` reads, without the rows. */
export async function encryptionState(installation: Installation): Promise<EncryptionState> {
  const { dataSource, options } = installation;
  const tables = encryptedTables(installation);
  const missing = await missingTables(dataSource, neededTables(installation));
  const keyTable = await installation.store.exists();
  const keys = keyTable ? await installation.keys.list() : [];
  const approvals = await approvalState(installation);
  return {
    keyTable,
    absent: await withConnection(dataSource, undefined, async (runner) => {
      const records = keyTable ? await installation.store.list(runner) : undefined;
      return absentKeys(installation, records, runner);
    }),
    keyNames: installation.columns.keyNames,
    keys,
    unauthenticated: keyTable ? await installation.keys.operations.unauthenticated() : [],
    maintenance: keyTable ? await plannedMaintenance(installation, missing, approvals) : null,
    approvals,
    now: options.now?.() ?? new Date(),
    columns: [],
    indexes: [],
    scopes: [],
    toReseal: 0,
    indexRoots: keyTable ? await indexRootState(installation) : NO_ROOTS,
    inTransition: new Set(
      tables.flatMap(({ columns }) => columns.filter(mayHoldOthers).map(describeColumn)),
    ),
    legacyScope: new Set(
      tables.flatMap(({ columns }) =>
        columns.filter(({ policy }) => policy.readsUnscoped).map(describeColumn),
      ),
    ),
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

function plannedMaintenance(
  installation: Installation,
  missing: readonly string[],
  { destroyNeedsApproval: needsApproval }: ApprovalState,
): Promise<MaintenanceReport> {
  const kinds = missing.length === 0 ? declaredKinds(installation.columns) : [];
  return installation.keys.maintain(
    { dryRun: true, needsApproval },
    encryptedRows(installation),
    kinds,
  );
}

/** Collects the state with the rows, for which it reads whole tables. Counts none where a table is missing. */
export async function countedState(installation: Installation): Promise<EncryptionState> {
  const state = await encryptionState(installation);
  return state.keyTable && state.missingTables.length === 0
    ? { ...state, ...(await countedRows(installation, state.keys)) }
    : state;
}

/** What reading whole tables tells. */
interface CountedRows extends Pick<EncryptionState, 'indexes' | 'scopes' | 'toReseal'> {
  readonly columns: ColumnStatus[];
}

/** Counts the rows of every column and index, and the scopes. */
export function countedRows(
  installation: Installation,
  keys: readonly KeyInfo[],
  connection?: QueryRunner,
): Promise<CountedRows> {
  return withConnection(installation.dataSource, connection, async (runner) => ({
    columns: await columnStatuses(installation, runner, keys),
    indexes: await indexStatuses(installation, runner, keys),
    ...(await countedScopes(installation, runner, keys)),
  }));
}

async function countedScopes(
  installation: Installation,
  runner: QueryRunner,
  keys: readonly KeyInfo[],
): Promise<Pick<CountedRows, 'scopes' | 'toReseal'>> {
  if (!installation.hasScopes) return { scopes: [], toReseal: 0 };
  const { store } = installation.keys.scopes;
  const earlier = earlierBranches(keys).map(({ id }) => id);
  return {
    scopes: await store.countScopes(runner),
    toReseal: await store.countSealedBy(earlier, runner),
  };
}
