import type { KeyInfo } from '../keys/record/key-info';

import type { AbsentKey } from './absent-keys';
import type { EncryptionState } from './encryption-state';
import { counted, KEYS_RESTORE } from './finding';
import { indexTasks, rootTasks } from './index-tasks';
import type { OperatorTask } from './operator-task';
import { cleartextRows, unboundRows, unreadableRows } from './row-tasks';

/** Lists the tasks that are due, most urgent first. */
export function operatorTasks(state: EncryptionState): OperatorTask[] {
  return [
    ...missingParts(state),
    ...unauthenticatedKeys(state),
    ...state.columns.flatMap(unreadableRows),
    // The migrations that they ask for come before any run over the rows.
    ...state.indexes.flatMap(indexTasks),
    ...state.columns.flatMap((column) => [
      ...cleartextRows(column, state),
      ...unboundRows(column, state),
    ]),
    ...policyTasks(state),
    ...approvalTasks(state),
    ...requestedErasures(state),
    ...resealing(state),
    ...staleRows(state),
  ];
}

function approvalTasks({ approvals: { policy, openRequests } }: EncryptionState): OperatorTask[] {
  const due: OperatorTask[] = [];
  if (policy === 'notStored') {
    due.push({ command: 'approvals policy', reason: 'the policy of approvals is not stored' });
  }
  if (policy === 'differs') {
    const reason = 'the option approvals is not what the stored policy says';
    due.push({ command: 'approvals policy', reason });
  }
  if (policy === 'unproven') {
    const reason = 'the policy of approvals was changed past the library';
    due.push({ command: 'audit verify', reason });
  }
  if (openRequests > 0) {
    const reason = `${counted(openRequests, 'request')} to be approved or carried out`;
    due.push({ command: 'approvals list', reason });
  }
  return due;
}

/** Erasures that wait for their second step. The scopes are not named: they may be persons. */
function requestedErasures({ scopes }: EncryptionState): OperatorTask[] {
  return scopes
    .filter(({ state }) => state === 'requested')
    .map(({ kind, scopes: count }) => ({
      command: `keys scopes --kind ${kind}`,
      reason: `${counted(count, 'erasure')} of kind ${kind} requested and not done: list them, and run keys shred again for each`,
    }));
}

function resealing({ toReseal }: EncryptionState): OperatorTask[] {
  if (toReseal === 0) return [];
  const reason = `${counted(toReseal, 'key')} of scopes under an earlier branch key`;
  return [{ command: 'keys reseal', reason }];
}

/** Lists the rotations, activations and destructions that policies ask for. */
export function policyTasks(state: EncryptionState): OperatorTask[] {
  return [
    ...state.keys.flatMap((key) => expired(key, state.now)),
    ...maintenanceTasks(state),
    ...rootTasks(state.indexRoots),
  ];
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
    due.push({ command: 'init', reason: neverMade(keyless) });
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

/** No root of the blind indexes is asked for: it is made with the data keys, or by the first use. */
function neverMade(names: readonly string[]): string {
  return (
    `no data key for ${names.join(', ')} yet. An application whose role may make keys makes its own; ` +
    'for any other, make them now'
  );
}

/** A key that was there once: no new one is made in its place. */
function lostKey({ title, lost }: AbsentKey): OperatorTask[] {
  if (lost === undefined) return [];
  return [
    {
      command: KEYS_RESTORE,
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
  const { announced, activated, destroyed, awaitingApproval, scopes, failures } = maintenance;
  const needed = new Set(columns.flatMap(({ keys }) => keys.map(({ keyId }) => keyId)));
  const reasons = [
    ...announced.map((key) => `${titled(key)} is due for rotation`),
    ...activated.map((key) => `${titled(key)} was announced and is due for activation`),
    ...destroyed
      .filter(({ id }) => !needed.has(id))
      .map((key) => `${titled(key)} is past its retention`),
    ...scopes.map(
      ({ kind, rotated }) =>
        `${counted(rotated, 'key')} of scopes of kind ${kind} due for rotation`,
    ),
  ];
  return [
    ...reasons.map((reason) => ({ command: 'keys maintain', reason })),
    ...awaitingApproval
      .filter(({ id }) => !needed.has(id))
      .map((key) => ({
        command: `keys destroy ${key.id}`,
        reason: `${titled(key)} is past its retention, and needs approval to be destroyed`,
      })),
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

function staleRows({ columns, keys: all }: EncryptionState): OperatorTask[] {
  const active = activeNames(all);
  const stale = columns
    .flatMap(({ keys, scopes }) => (scopes === null ? keys : []))
    .filter(({ name, state }) => name !== undefined && state !== 'active' && active.has(name))
    .reduce((sum, { rows }) => sum + rows, 0);
  if (stale === 0) return [];
  return [
    { command: 'data reencrypt', reason: `${counted(stale, 'value')} under an older data key` },
  ];
}
