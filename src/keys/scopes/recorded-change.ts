import { createHash } from 'node:crypto';

import type { AuditEvent } from '../../audit/audit-entry';
import type { KeyServices } from '../key-services';
import type { ScopeKeyRecord } from '../record/scope-key-record';

import type { ScopeKeyChange, ScopeKeyStore } from './scope-key-store';
import { requireReadable } from './sealed-scope-key';

/** Changes of the table of scope keys that belong together. */
export interface RecordedChange<C> {
  readonly changes?: readonly ScopeKeyChange[];
  readonly inserted?: readonly ScopeKeyRecord[];
  /** Returns what is recorded; called within the transaction. */
  readonly event: (transaction: C) => AuditEvent | Promise<AuditEvent>;
  /** Returns further changes of changed rows, by what `event` found. Defaults to none. */
  readonly further?: () => readonly ScopeKeyChange[];
}

/** Makes changes with their entry of the audit log, or none of them: false if another process was faster. */
export async function applyRecorded<C>(
  { audit }: KeyServices<C>,
  store: ScopeKeyStore<C>,
  { changes = [], inserted = [], event, further = () => [] }: RecordedChange<C>,
): Promise<boolean> {
  for (const { expected } of changes) requireReadable(expected);
  const record = await audit?.readyToRecord();
  return store.apply(changes, inserted, async (transaction) => {
    const recorded = await event(transaction);
    await record?.([recorded], transaction);
    return further();
  });
}

/** Returns how the audit log names keys of scopes, of which there may be very many. */
export function batchOf(
  records: readonly Pick<ScopeKeyRecord, 'id'>[],
): Required<Pick<AuditEvent, 'reference' | 'counts'>> {
  const ids = records.map(({ id }) => id).sort();
  const reference = createHash('sha256').update(ids.join('\n')).digest('hex');
  return { reference, counts: { scopeKeys: ids.length } };
}
