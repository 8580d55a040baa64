import { AEAD_KEY_BYTES, AEAD_TAG_BYTES, AeadError } from '../../crypto/aead';
import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { SealedMessage } from '../../encoding/sealed-message';
import { KeyUnwrapError } from '../../errors';
import type { DataKey } from '../key-source';

import { isMark } from '../record/scope-key-record';
import type { ScopeKeyRecord } from '../record/scope-key-record';

const NO_KEY = new Uint8Array();

/**
 * Seals a key of a scope under a branch key, with the identity and the state of its row as associated
 * data: a row that was edited, or given to another scope, does not open, and neither does a mark that this
 * library did not write.
 *
 * @param bytes - none for a record that holds no key.
 */
export function sealScopeKey(
  branch: DataKey,
  fields: Omit<ScopeKeyRecord, 'sealed' | 'branchId'>,
  application: string,
  bytes: Uint8Array = NO_KEY,
): ScopeKeyRecord {
  const { nonceBytes } = branch.aead;
  const room = Buffer.alloc(nonceBytes + bytes.length + AEAD_TAG_BYTES);
  room.set(bytes, nonceBytes);
  const record = { ...fields, branchId: branch.id, sealed: room };
  branch.aead.seal(new SealedMessage(room, 0, nonceBytes), associatedData(record, application));
  branch.uses.pending += 1;
  return record;
}

/**
 * Opens the key of a record, which proves all of its fields. The caller wipes the bytes.
 *
 * @throws {@link KeyUnwrapError} for a record that was edited, or belongs to another branch or application
 */
export function openScopeKey(
  branch: DataKey,
  record: ScopeKeyRecord,
  application: string,
): Uint8Array {
  const { nonceBytes } = branch.aead;
  const length = nonceBytes + (isMark(record) ? 0 : AEAD_KEY_BYTES) + AEAD_TAG_BYTES;
  if (record.sealed.length !== length) throw doesNotOpen(record);
  const message = new SealedMessage(Buffer.from(record.sealed), 0, nonceBytes);
  try {
    return branch.aead.open(message, associatedData(record, application));
  } catch (error) {
    if (error instanceof AeadError) throw doesNotOpen(record);
    throw error;
  }
}

/** Names a key of a scope in a message. Scopes may be persons, so theirs is not told. */
export function scopeKeyTitle({ id, kind, purpose }: ScopeKeyRecord): string {
  return `${isMark({ purpose }) ? `mark ${id} (${purpose})` : `${purpose} key ${id}`} of a ${kind}`;
}

function doesNotOpen(record: ScopeKeyRecord): KeyUnwrapError {
  return new KeyUnwrapError(
    `${scopeKeyTitle(record)} does not open under its branch key ${record.branchId}: its row in the table of ` +
      'scope keys was edited or damaged. Restore the row from a backup of the database.',
    { keyId: record.id },
  );
}

function associatedData(record: ScopeKeyRecord, application: string): Uint8Array {
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
