import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError } from '../../crypto/aead';
import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { SealedMessage } from '../../encoding/sealed-message';
import { KeyUnwrapError } from '../../errors';
import type { DataKey } from '../key-source';

import { isMark } from '../record/scope-key-record';
import type { ScopeKeyPurpose, ScopeKeyRecord } from '../record/scope-key-record';

/** Bytes that are sealed in a record: a key, the time from which an erasure is possible, or nothing. */
const CONTENT_BYTES: Readonly<Record<ScopeKeyPurpose, number>> = {
  data: AEAD_KEY_BYTES,
  index: AEAD_KEY_BYTES,
  erasure: BigUint64Array.BYTES_PER_ELEMENT,
  hold: 0,
};
/** Of the suites that branch keys may have. */
const LONGEST_NONCE_BYTES = 24;

/** Whether a sealed content may be a key by its length: those of marks are shorter, and receipts longer. */
export function mayBeSealedKey({ sealed }: Pick<ScopeKeyRecord, 'sealed'>): boolean {
  const nonceBytes = sealed.length - AEAD_KEY_BYTES - AEAD_TAG_BYTES;
  return nonceBytes > 0 && nonceBytes <= LONGEST_NONCE_BYTES;
}

/** Seals bytes under a branch key, for a row or a file. */
export function sealUnder(branch: DataKey, bytes: Uint8Array, associated: Uint8Array): Buffer {
  const { nonceBytes } = branch.aead;
  const room = Buffer.alloc(nonceBytes + bytes.length + AEAD_TAG_BYTES);
  room.set(bytes, nonceBytes);
  branch.aead.seal(new SealedMessage(room, 0, nonceBytes), associated);
  branch.uses.pending += 1;
  return room;
}

/** Opens what {@link sealUnder} has sealed of so many bytes; undefined for anything else. */
export function openUnder(
  branch: DataKey,
  { sealed, bytes }: { readonly sealed: Uint8Array; readonly bytes: number },
  associated: Uint8Array,
): Uint8Array | undefined {
  const { nonceBytes } = branch.aead;
  if (sealed.length !== nonceBytes + bytes + AEAD_TAG_BYTES) return undefined;
  try {
    return branch.aead.open(new SealedMessage(Buffer.from(sealed), 0, nonceBytes), associated);
  } catch (error) {
    if (error instanceof AeadError) return undefined;
    throw error;
  }
}

/**
 * Seals a key of a scope under a branch key, with the identity and the state of its row as associated
 * data: a row that was edited, or given to another scope, does not open, and neither does a mark that this
 * library did not write.
 *
 * @param bytes - the key; for the mark of an erasure, the time from which it is possible, or its receipt.
 */
export function sealScopeKey(
  branch: DataKey,
  fields: Omit<ScopeKeyRecord, 'sealed' | 'branchId'>,
  application: string,
  bytes: Uint8Array,
): ScopeKeyRecord {
  const record = { ...fields, branchId: branch.id };
  return { ...record, sealed: sealUnder(branch, bytes, associatedData(record, application)) };
}

/**
 * Opens what is sealed in a record, which proves all of its fields. The caller wipes the bytes.
 *
 * @throws {@link KeyUnwrapError} for a record that was edited, or belongs to another branch or application
 */
export function openScopeKey(
  branch: DataKey,
  record: ScopeKeyRecord,
  application: string,
): Uint8Array {
  requireReadable(record);
  const { sealed, purpose, state } = record;
  const holdsReceipt = purpose === 'erasure' && state === 'erased';
  const receiptBytes = Math.max(0, sealed.length - branch.aead.nonceBytes - AEAD_TAG_BYTES);
  const stored = { sealed, bytes: holdsReceipt ? receiptBytes : CONTENT_BYTES[purpose] };
  const bytes = openUnder(branch, stored, associatedData(record, application));
  if (bytes === undefined) throw doesNotOpen(record);
  return bytes;
}

/** Names a key of a scope in a message. Scopes may be persons, so theirs is not told. */
export function scopeKeyTitle({ id, kind, purpose }: ScopeKeyRecord): string {
  return `${isMark({ purpose }) ? `mark ${id} (${purpose})` : `${purpose} key ${id}`} of a ${kind}`;
}

/** @throws {@link KeyUnwrapError} for a record with cells that this library has not written */
export function requireReadable({ id, kind, purpose, unreadable }: ScopeKeyRecord): void {
  if (unreadable === undefined) return;
  const what = isMark({ purpose }) ? 'mark' : 'key';
  throw new KeyUnwrapError(
    `A ${what} of a ${kind}${id === '' ? '' : ` (${id})`}: its row in the table of scope keys was edited or damaged, ` +
      `and ${unreadable.join(', ')} cannot be read. Restore the row from a backup of the database.`,
    id === '' ? {} : { keyId: id },
  );
}

/** Returns the error of a record that this library did not write as it is. */
function doesNotOpen(record: ScopeKeyRecord): KeyUnwrapError {
  return new KeyUnwrapError(
    `${scopeKeyTitle(record)} does not open under its branch key ${record.branchId}: its row in the table of ` +
      'scope keys was edited or damaged. Restore the row from a backup of the database.',
    { keyId: record.id },
  );
}

function associatedData(record: Omit<ScopeKeyRecord, 'sealed'>, application: string): Uint8Array {
  return lengthPrefixed([
    LABELS.scopeKey,
    application,
    record.branchId,
    record.id,
    record.kind,
    record.scope,
    record.purpose,
    String(record.version),
    record.suite,
    record.state,
    String(Math.floor(record.since.getTime() / 1000)),
  ]);
}
