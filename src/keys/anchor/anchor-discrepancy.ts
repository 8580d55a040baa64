import { KeyStateError } from '../../errors';
import type { KeyRecord } from '../record/key-record';
import { isAtLeastAsRestricted, stateInWords } from '../record/key-state';
import type { KeyState, KnownKey } from '../record/key-state';

/** A key whose row is missing, or older than the one the anchor knows. */
export interface AnchorDiscrepancy {
  readonly keyId: string;
  /** State and epoch in the anchor. */
  readonly anchored: { readonly state: KeyState; readonly epoch: number };
  /** State and epoch of its row; `null` without one. */
  readonly found: { readonly state: KeyState; readonly epoch: number } | null;
}

/** Compares what is known of keys with their rows. */
export function discrepancies(
  anchored: readonly KnownKey[],
  records: readonly KeyRecord[],
): AnchorDiscrepancy[] {
  const rows = new Map(records.map((record) => [record.id, record]));
  return anchored.flatMap((known) => {
    const row = rows.get(known.id);
    if (row === undefined ? known.state === 'destroyed' : !isBehind(row, known)) return [];
    const found = row === undefined ? null : { state: row.state, epoch: row.epoch };
    return [{ keyId: known.id, anchored: { state: known.state, epoch: known.epoch }, found }];
  });
}

function isBehind(row: KeyRecord, known: KnownKey): boolean {
  // Final until an older table is accepted, after which the anchor says otherwise: a row without a proof
  // may claim any epoch.
  if (known.state === 'destroyed') return row.state !== 'destroyed';
  const isHonoured = row.state === 'compromised' || row.state === 'destroyed';
  if (isHonoured && isAtLeastAsRestricted(row, known)) return false;
  if (row.epoch !== known.epoch) return row.epoch < known.epoch;
  // A process of an earlier version, without epochs, may have changed it.
  return row.epoch === 0 ? !isAtLeastAsRestricted(row, known) : row.state !== known.state;
}

/** For a process that asks at its start. */
export function olderThanAnchor(
  older: readonly AnchorDiscrepancy[],
  newest: number,
): KeyStateError {
  const described = older.map(({ keyId, anchored, found }) => {
    const was = `${anchored.state} at epoch ${String(anchored.epoch)}`;
    return `key ${keyId} was ${was} and is ${found === null ? 'missing' : `${stateInWords(found.state)} at epoch ${String(found.epoch)}`}`;
  });
  return new KeyStateError(
    `the key table is older than its anchor: ${described.join('; ')}. Put the newer rows back; or, if the table ` +
      `was restored on purpose: field-encryption keys accept-epoch ${String(newest)} --reason "..."`,
    older[0] === undefined ? {} : { keyId: older[0].keyId },
  );
}
