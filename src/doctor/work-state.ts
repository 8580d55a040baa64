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

/** Something an operator has to do. */
export interface Due {
  /** The command that does it; `null` where none does. */
  readonly command: string | null;
  readonly reason: string;
}

/** What is known of the keys, and of the rows that need them. */
export interface WorkState {
  readonly keyTable: boolean;
  /** Key names that the entities write with. */
  readonly keyNames: readonly string[];
  readonly keys: readonly KeyInfo[];
  /** Keys that the entities need and of which there is no version. */
  readonly absent: readonly AbsentKey[];
  /** Empty where they were not counted. */
  readonly columns: readonly ColumnStatus[];
  /** Keys of every purpose that somebody without the KMS could have made. */
  readonly unauthenticated: readonly KeyInfo[];
  /** What `keys maintain --dry-run` says; `null` without a key table. */
  readonly maintenance: MaintenanceReport | null;
  /** The time that expiry is judged by. */
  readonly now: Date;
  /** Tables of encrypted entities that the database does not have. */
  readonly missingTables: readonly string[];
}

/** What is due, most urgent first. */
export function whatIsDue(state: WorkState): Due[] {
  return [
    ...missingParts(state),
    ...unauthenticatedKeys(state),
    ...state.columns.flatMap(unreadableRows),
    ...state.columns.flatMap(cleartextRows),
    ...policiesDue(state),
    ...staleRows(state),
  ];
}

/** What policies ask for: rotations, activations, destructions. */
export function policiesDue(state: WorkState): Due[] {
  return [...state.keys.flatMap((key) => expired(key, state.now)), ...maintenanceDue(state)];
}

function missingParts({ keyTable, keyNames, keys, absent, missingTables }: WorkState): Due[] {
  const active = activeNames(keys);
  const inactive = keyNames.filter((name) => !active.has(name));
  const due: Due[] = absent.flatMap(lostKey);
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

/** None is made in its place. */
function lostKey({ title, lost }: AbsentKey): Due[] {
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

/** Nothing is written with such a key. */
function unauthenticatedKeys({ unauthenticated: keys }: WorkState): Due[] {
  if (keys.length === 0) return [];
  return [
    {
      command: 'keys adopt',
      reason: `somebody without the KMS could have made ${counted(keys.length, 'key')}`,
    },
  ];
}

/** A key with versions none of which is active: nothing can be written with it. */
function outOfUse(versions: readonly KeyInfo[]): Due[] {
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

function expired(key: KeyInfo, now: Date): Due[] {
  if (key.state !== 'active' || key.expiresAt === null || key.expiresAt > now) return [];
  const since = key.expiresAt.toISOString();
  return [
    {
      command: `keys rotate ${key.name}`,
      reason: `${titled(key)} is past its cryptoperiod since ${since}`,
    },
  ];
}

/** What the policies ask for at this moment. */
function maintenanceDue({ maintenance, columns }: WorkState): Due[] {
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

function unreadableRows({ entity, property, keys }: ColumnStatus): Due[] {
  return keys
    .filter(({ name }) => name === undefined)
    .map(({ keyId, rows }) => ({
      command: null,
      reason:
        `${counted(rows, 'row')} of ${entity}.${property} need key ${keyId}, which the key table ` +
        'does not hold: restore it from a backup',
    }));
}

function cleartextRows({ entity, property, cleartextRows: rows }: ColumnStatus): Due[] {
  if (rows === 0) return [];
  return [
    {
      command: null,
      reason: `${counted(rows, 'row')} of ${entity}.${property} hold cleartext: encrypt them`,
    },
  ];
}

function staleRows({ columns, keys: all }: WorkState): Due[] {
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
