import { wipe } from '../../crypto/wipe';
import { lengthPrefixed, readLengthPrefixed } from '../../encoding/length-prefixed';
import { KeyUnwrapError } from '../../errors';
import type { KeyRecord } from '../key-record';
import type { Wrapping } from '../key-wrapper';

/** A key in a backup: its record but for what belongs to the row of the key table, and its bytes. */
export interface BackedUpKey {
  readonly record: Omit<KeyRecord, keyof Wrapping | 'stateMac' | 'epoch'>;
  readonly bytes: Uint8Array;
}

type DateMember = Extract<keyof KeyRecord, `${string}At`>;

const DATES: readonly DateMember[] = [
  'createdAt',
  'activatedAt',
  'deactivatedAt',
  'compromisedAt',
  'destroyedAt',
  'expiresAt',
];

/** What a backup keeps of a record: under which KEK the key was is no matter any more. */
export function withoutWrapping(record: KeyRecord): BackedUpKey['record'] {
  const { id, name, purpose, version, suite, state, owner, securityLevel, useCount } = record;
  const { createdAt, activatedAt, deactivatedAt, compromisedAt, destroyedAt, expiresAt } = record;
  const dates = { createdAt, activatedAt, deactivatedAt, compromisedAt, destroyedAt, expiresAt };
  return { id, name, purpose, version, suite, state, owner, securityLevel, useCount, ...dates };
}

/** Lays keys out as bytes, a length-prefixed list of (JSON of the record, key). The caller wipes them. */
export function encodeKeys(keys: readonly BackedUpKey[]): Uint8Array {
  const entries = keys.map(({ record, bytes }) => lengthPrefixed([JSON.stringify(record), bytes]));
  try {
    return lengthPrefixed(entries);
  } finally {
    for (const entry of entries) wipe(entry);
  }
}

/** The keys of a decrypted backup, as views of `content`: wiping that wipes them. */
export function decodeKeys(content: Uint8Array): BackedUpKey[] {
  const keys = readLengthPrefixed(content)?.map((entry) => {
    const [record, bytes] = readLengthPrefixed(entry) ?? [];
    if (record === undefined || bytes === undefined) throw unreadable();
    return { record: recordOf(Buffer.from(record).toString('utf8')), bytes };
  });
  if (keys === undefined) throw unreadable();
  return keys;
}

function recordOf(json: string): BackedUpKey['record'] {
  const record = JSON.parse(json) as Record<string, unknown>;
  for (const name of DATES) {
    const text = record[name];
    record[name] = typeof text === 'string' ? new Date(text) : null;
  }
  // It was authenticated, so it is what encodeKeys() wrote, of which JSON knows no type.
  return record as unknown as BackedUpKey['record'];
}

/** It was authenticated, so another version has made it. */
function unreadable(): KeyUnwrapError {
  return new KeyUnwrapError('The backup opens, but this version cannot read what is in it.');
}
