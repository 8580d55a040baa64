import type { AuditedKey, AuditEvent, AuditOperation } from '../../audit/audit-entry';
import type { KeyRecord } from '../record/key-record';
import type { KeyState } from '../record/key-state';

import type { KeyChange } from './key-store';

/** The operation that led to a state; there are several that lead to `active`. */
const OPERATIONS: Readonly<Record<Exclude<KeyState, 'active'>, AuditOperation>> = {
  preActive: 'announce',
  suspended: 'suspend',
  deactivated: 'deactivate',
  compromised: 'revoke',
  destroyed: 'destroy',
};

/** Marks an entry about a key whose row, with its name, version and KEK, may be forged. */
export const UNPROVEN = 'the row was not proven';

/** Returns the audit events of changes that are made together; none for those of neither state nor wrapping. */
export function eventsOf(changes: readonly KeyChange[]): AuditEvent[] {
  const replaced = changes.filter(makesRoom).map(({ expected }) => expected);
  return changes.flatMap((change) => {
    const operation = operationOf(change, replaced);
    if (operation === undefined) return [];
    const { epoch } = changedRecord(change);
    const reference = referenceOf(change);
    const event = {
      operation,
      outcome: 'done' as const,
      key: auditedKey(change),
      counts: { epoch },
    };
    return [reference === undefined ? event : { ...event, reference }];
  });
}

function referenceOf(change: KeyChange): string | undefined {
  if (change.type === 'insert') return change.restoredFrom;
  return change.isProven === false ? UNPROVEN : change.acceptedFor;
}

/** Whether these changes take a compromised key out of use, and at most replace it. */
export function areRevocations(changes: readonly KeyChange[]): boolean {
  return changes.some((change) => change.type === 'update' && change.set.state === 'compromised');
}

/** Returns the record after a change. */
export function changedRecord(change: KeyChange): KeyRecord {
  return change.type === 'insert' ? change.record : { ...change.expected, ...change.set };
}

function operationOf(
  change: KeyChange,
  replaced: readonly KeyRecord[],
): AuditOperation | undefined {
  const { type } = change;
  if (change.adopted === true) return 'adopt';
  if (type === 'insert' && change.restoredFrom !== undefined) return 'restore';
  const key = changedRecord(change);
  if (type === 'update' && change.acceptedFor !== undefined) return 'acceptEpoch';
  if (type === 'update' && change.set.state === undefined) {
    return change.set.wrapped === undefined ? undefined : 'rewrap';
  }
  if (key.state !== 'active') return OPERATIONS[key.state];
  if (replaced.some(({ name, purpose }) => name === key.name && purpose === key.purpose)) {
    return 'rotate';
  }
  if (type === 'insert') return 'create';
  return change.expected.state === 'suspended' ? 'resume' : 'activate';
}

/** Whether a change makes room for another active version of the name. */
function makesRoom(change: KeyChange): change is Extract<KeyChange, { type: 'update' }> {
  if (change.type === 'insert') return false;
  const { state } = change.set;
  return change.expected.state === 'active' && state !== undefined && state !== 'active';
}

function auditedKey(change: KeyChange): AuditedKey {
  const { id, name, purpose, version, state, kms, kek } = changedRecord(change);
  return { id, name, purpose, version, state, kms, kek };
}
