import type { ColumnStatus } from '../reencryption/coverage/status';

import { RESTORE_SCOPE_KEYS } from './absent-keys';
import type { EncryptionState } from './encryption-state';
import { agreeing, counted, KEYS_RESTORE } from './finding';
import type { OperatorTask } from './operator-task';

/** Values whose key is gone. */
export function unreadableRows(status: ColumnStatus): OperatorTask[] {
  const { entity, property, keys, scopes } = status;
  const gone = keys.filter(({ name }) => name === undefined);
  return scopes === null
    ? gone.map(({ keyId, rows }) => ({
        command: KEYS_RESTORE,
        reason:
          `${counted(rows, 'row')} of ${entity}.${property} ${agreeing('need', rows)} key ${keyId}, which the key table ` +
          'does not hold: restore it from a backup',
      }))
    : goneWithScopes(status, gone);
}

/** One task for all scopes, of which there may be many. */
function goneWithScopes(
  { entity, property }: ColumnStatus,
  gone: ColumnStatus['keys'],
): OperatorTask[] {
  if (gone.length === 0) return [];
  const rows = gone.reduce((sum, each) => sum + each.rows, 0);
  const reason =
    `${counted(rows, 'row')} of ${entity}.${property} ${agreeing('need', rows)} ${counted(gone.length, 'key')} that ` +
    `neither the table of keys of scopes nor the key table holds. ${RESTORE_SCOPE_KEYS}`;
  return [{ command: null, reason }];
}

/** Values that are not bound to their row, or not under the active key of their scope. */
export function unboundRows(
  status: ColumnStatus,
  { legacyScope }: EncryptionState,
): OperatorTask[] {
  const { entity, property, unboundRows: unbound, scopes } = status;
  const isNamed = legacyScope.has(`${entity}.${property}`);
  const left =
    scopes === null
      ? [[unbound, 'not bound to their row'] as const]
      : [
          [
            isNamed ? scopes.commonRows : 0,
            `under a common key, not one of their ${scopes.kind}`,
          ] as const,
          [
            scopes.olderRows - scopes.toBeErasedRows,
            `under an older key of their ${scopes.kind}`,
          ] as const,
        ];
  return [
    ...(isNamed || scopes === null ? [] : unnamedScope(status, scopes.commonRows)),
    ...left
      .filter(([rows]) => rows > 0)
      .map(([rows, how]) => ({
        command: `data reencrypt --entity ${entity}`,
        reason: `${counted(rows, 'value')} of ${entity}.${property} ${how}`,
      })),
  ];
}

/** Values under a common key that only `legacyScope` lets be read, found and moved. */
function unnamedScope({ entity, property }: ColumnStatus, rows: number): OperatorTask[] {
  if (rows === 0) return [];
  const name = `${entity}.${property}`;
  return [
    {
      command: null,
      reason:
        `${counted(rows, 'value')} of ${name} under a common key ${rows === 1 ? 'is' : 'are'} neither read nor found nor moved: ` +
        `add '${name}' to the option legacyScope, and deploy`,
    },
  ];
}

/** Cleartext that is to be encrypted, or taken away. */
export function cleartextRows(
  { entity, property, cleartextRows: all, scopes }: ColumnStatus,
  { inTransition }: EncryptionState,
): OperatorTask[] {
  const name = `${entity}.${property}`;
  const ofErased = scopes?.erasedCleartextRows ?? 0;
  const rows = all - ofErased;
  const first = inTransition.has(name)
    ? ''
    : ', after you have named the property in legacyPlaintext';
  const encryption: OperatorTask = {
    command: `data encrypt --entity ${entity}`,
    reason: `${counted(rows, 'row')} of ${name} ${agreeing('hold', rows)} cleartext: encrypt ${rows === 1 ? 'it' : 'them'}${first}`,
  };
  return [
    ...(ofErased > 0 ? [clearAfterErasure(name, ofErased)] : []),
    ...(rows > 0 ? [encryption] : []),
  ];
}

/** Cleartext that was written past the library after the erasure of its scope: nothing can encrypt it any more. */
function clearAfterErasure(name: string, rows: number): OperatorTask {
  const them = rows === 1 ? 'it' : 'them';
  return {
    command: null,
    reason:
      `${counted(rows, 'row')} of ${name} ${agreeing('hold', rows)} cleartext of erased scopes, which stays readable: delete ${them}, or set ` +
      `the property to null. \`data verify\` names ${them}`,
  };
}
