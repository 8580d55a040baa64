import { equalInConstantTime } from '../crypto/constant-time';
import { hkdfSha256 } from '../crypto/hkdf';
import { hmacKey, hmacSha256 } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { wipe } from '../crypto/wipe';
import { lengthPrefixed } from '../encoding/length-prefixed';
import type { KeyRecord } from './key-record';

/** What the MAC covers: everything that never changes, and the KEK, which only a rewrap changes. */
export type AuthenticatedFields = Pick<
  KeyRecord,
  'id' | 'name' | 'purpose' | 'version' | 'suite' | 'kms' | 'kek' | 'createdAt'
>;

/**
 * Computes the MAC of a key record:
 * `HMAC-SHA-256(HKDF-SHA-256(key, label), lengthPrefixed(fields))`.
 *
 * Keyed from the key itself, it ties the row to the key whatever the provider can authenticate, and
 * needs no other secret. A rewrap has the key in hand and computes it again. State and its dates
 * have a MAC of their own, see `key-state-mac.ts`.
 */
export function keyRecordMac(
  key: Uint8Array,
  fields: AuthenticatedFields,
  application: string,
): Buffer {
  const macKey = hkdfSha256({ key, info: lengthPrefixed([LABELS.keyRecordMac]), bytes: 32 });
  try {
    return hmacSha256(hmacKey(macKey), authenticatedBytes(fields, application));
  } finally {
    wipe(macKey);
  }
}

/** Tells, in constant time, whether the record is as it was when the key was wrapped. */
export function hasValidRecordMac(
  key: Uint8Array,
  record: AuthenticatedFields & Pick<KeyRecord, 'recordMac'>,
  application: string,
): boolean {
  return equalInConstantTime(record.recordMac, keyRecordMac(key, record, application));
}

function authenticatedBytes(fields: AuthenticatedFields, application: string): Uint8Array {
  return lengthPrefixed([
    fields.id,
    application,
    fields.name,
    fields.purpose,
    String(fields.version),
    fields.suite,
    fields.kms,
    fields.kek,
    String(Math.floor(fields.createdAt.getTime() / 1000)),
  ]);
}
