import type { MaintenanceReport } from '../keys/lifecycle/key-maintenance';
import type { KeyInfo } from '../keys/record/key-info';
import { encryptedRows } from '../reencryption/coverage/key-uses';
import { columnStatuses } from '../reencryption/coverage/status';
import type { ColumnStatus } from '../reencryption/coverage/status';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import { missingTables } from '../typeorm/connection/table-access';
import type { Installation } from '../typeorm/installation/installation';

import { absentKeys } from './absent-keys';
import type { AbsentKey } from './absent-keys';
import { counted } from './finding';

/** A task for an operator. */
export interface OperatorTask {
  /** The command that does it; `null` if there is none. */
  readonly command: string | null;
  readonly reason: string;
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
  /** Keys of every purpose that somebody without the KMS could have made. */
  readonly unauthenticated: readonly KeyInfo[];
  /** The report of `keys maintain --dry-run`; `null` without a key table. */
  readonly maintenance: MaintenanceReport | null;
  /** The time by which keys expire. */
  readonly now: Date;
  /** Tables of encrypted entities that the database does not have. */
  readonly missingTables: readonly string[];
}

/** Lists the tasks that are due, most urgent first. */
export function operatorTasks(state: EncryptionState): OperatorTask[] {
  return [
    ...missingParts(state),
    ...unauthenticatedKeys(state),
    ...state.columns.flatMap(unreadableRows),
    ...state.columns.flatMap(unprotectedRows),
    ...policyTasks(state),
    ...staleRows(state),
  ];
}

/** Lists the rotations, activations and destructions that policies ask for. */
export function policyTasks(state: EncryptionState): OperatorTask[] {
  return [...state.keys.flatMap((key) => expired(key, state.now)), ...maintenanceTasks(state)];
}

function missingParts({
  keyTable,
  keyNames,
  keys,
  absent,
  missingTables,
}: EncryptionState): OperatorTask[] {
  const active = activeNames(keys);
  const inactive = keyNames.filter((name) => !active.has(name));
  const due: OperatorTask[] = absent.flatMap(lostKey);
  const keyless = absent
    .filter(({ purpose, lost }) => purpose === 'data' && lost === undefined)
    .map(({ name }) => name);
  if (!keyTable && due.length === 0)
    due.push({ command: 'init', reason: 'the key table does not exist' });
  else if (keyTable && keyless.length > 0) {
    due.push({ command: 'init', reason: `no active data key for ${keyless.join(', ')}` });
  }
  due.push(...inactive.flatMap((name) => outOfUse(keys.filter((key) => key.name === name))));
  if (missingTables.length > 0) {
    due.push({
      command: null,
      reason: `${missingTables.join(', ')} missing in the database: run your migrations`,
    });
  }
  return due;
}

/** A key that was there once: no new one is made in its place. */
function lostKey({ title, lost }: AbsentKey): OperatorTask[] {
  if (lost === undefined) return [];
  return [
    {
      command: 'keys restore',
      reason:
        `the ${title} is gone, and ${lost}: restore the data_keys table from a backup of the database, ` +
        'or the keys from a backup of theirs',
    },
  ];
}

/** Keys that nothing is written with until they are adopted. */
function unauthenticatedKeys({ unauthenticated: keys }: EncryptionState): OperatorTask[] {
  if (keys.length === 0) return [];
  return [
    {
      command: 'keys adopt',
      reason: `somebody without the KMS could have made ${counted(keys.length, 'key')}`,
    },
  ];
}

/** A key with versions none of which is active: nothing can be written with it. */
function outOfUse(versions: readonly KeyInfo[]): OperatorTask[] {
  const latest = versions.at(-1);
  if (latest === undefined) return [];
  const suspended = versions.findLast(({ state }) => state === 'suspended');
  return suspended === undefined
    ? [
        {
          command: `keys rotate ${latest.name}`,
          reason: `no version of key "${latest.name}" is active`,
        },
      ]
    : [{ command: `keys resume ${suspended.id}`, reason: `${titled(suspended)} is suspended` }];
}

function expired(key: KeyInfo, now: Date): OperatorTask[] {
  if (key.state !== 'active' || key.expiresAt === null || key.expiresAt > now) return [];
  const since = key.expiresAt.toISOString();
  return [
    {
      command: `keys rotate ${key.name}`,
      reason: `${titled(key)} is past its cryptoperiod since ${since}`,
    },
  ];
}

function maintenanceTasks({ maintenance, columns }: EncryptionState): OperatorTask[] {
  if (maintenance === null) return [];
  const { announced, activated, destroyed, failures } = maintenance;
  const needed = new Set(columns.flatMap(({ keys }) => keys.map(({ keyId }) => keyId)));
  const reasons = [
    ...announced.map((key) => `${titled(key)} is due for rotation`),
    ...activated.map((key) => `${titled(key)} was announced and is due for activation`),
    ...destroyed
      .filter(({ id }) => !needed.has(id))
      .map((key) => `${titled(key)} is past its retention`),
  ];
  return [
    ...reasons.map((reason) => ({ command: 'keys maintain', reason })),
    ...failures.map(({ keyName, message }) => ({
      command: null,
      reason: `key "${keyName}": ${message}`,
    })),
  ];
}

function activeNames(keys: readonly KeyInfo[]): ReadonlySet<string> {
  return new Set(keys.filter(({ state }) => state === 'active').map(({ name }) => name));
}

function titled({ name, version }: KeyInfo): string {
  return `key "${name}" version ${String(version)}`;
}

function unreadableRows({ entity, property, keys }: ColumnStatus): OperatorTask[] {
  return keys
    .filter(({ name }) => name === undefined)
    .map(({ keyId, rows }) => ({
      command: null,
      reason:
        `${counted(rows, 'row')} of ${entity}.${property} need key ${keyId}, which the key table ` +
        'does not hold: restore it from a backup',
    }));
}

function unprotectedRows(status: ColumnStatus): OperatorTask[] {
  const { entity, property, cleartextRows, unboundRows } = status;
  const of = `of ${entity}.${property}`;
  const inClear = `${counted(cleartextRows, 'row')} ${of} hold cleartext: encrypt them`;
  const unbound = `${counted(unboundRows, 'value')} ${of} not bound to their row`;
  const binding = `data reencrypt --entity ${entity}`;
  return [
    ...(cleartextRows > 0 ? [{ command: null, reason: inClear }] : []),
    ...(unboundRows > 0 ? [{ command: binding, reason: unbound }] : []),
  ];
}

function staleRows({ columns, keys: all }: EncryptionState): OperatorTask[] {
  const active = activeNames(all);
  const stale = columns
    .flatMap(({ keys }) => keys)
    .filter(({ name, state }) => name !== undefined && state !== 'active' && active.has(name))
    .reduce((sum, { rows }) => sum + rows, 0);
  if (stale === 0) return [];
  return [
    { command: 'data reencrypt', reason: `${counted(stale, 'value')} under an older data key` },
  ];
}

/**
 * Collects the state that {@link operatorTasks} reads.
 *
 * @param counted - whether to count the rows under each key, which reads whole tables.
 */
export async function encryptionState(
  installation: Installation,
  { counted }: { readonly counted: boolean },
): Promise<EncryptionState> {
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
): Promise<EncryptionState['columns']> {
  return withConnection(installation.dataSource, undefined, (runner) =>
    columnStatuses(installation, runner, keys),
  );
}
