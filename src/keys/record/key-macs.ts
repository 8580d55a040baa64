import { createHash } from 'node:crypto';

import { deriveHmacKey, hmacSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyStateError } from '../../errors';

import { aboutUnreadable, keyTitle } from './key-record';
import type { KeyRecord } from './key-record';
import { stateInWords } from './key-state';
import type { KeyState } from './key-state';

/** The fields that the record MAC covers: those that never change, and the KEK, which only a rewrap changes. */
export type AuthenticatedFields = Pick<
  KeyRecord,
  'id' | 'name' | 'purpose' | 'version' | 'suite' | 'kms' | 'kek' | 'createdAt'
>;

/**
 * Computes the record MAC of a key:
 * `HMAC-SHA-256(HKDF-SHA-256(key, label), lengthPrefixed(fields))`.
 *
 * Keyed by the key itself, it binds the row to the key whatever the provider can authenticate, and needs
 * no other secret. A rewrap has the key at hand and computes it again. The state and its dates have a MAC
 * of their own, see {@link stateAuthenticator}.
 */
export function keyRecordMac(
  key: Uint8Array,
  fields: AuthenticatedFields,
  application: string,
): Buffer {
  const macKey = deriveHmacKey(key, lengthPrefixed([LABELS.keyRecordMac]));
  return hmacSha256(macKey, recordBytes(fields, application));
}

/** Whether the record is as it was when the key was wrapped. Compares in constant time. */
export function hasValidRecordMac(
  key: Uint8Array,
  record: AuthenticatedFields & Pick<KeyRecord, 'recordMac'>,
  application: string,
): boolean {
  return equalInConstantTime(record.recordMac, keyRecordMac(key, record, application));
}

function recordBytes(fields: AuthenticatedFields, application: string): Uint8Array {
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

/**
 * The fields that the state MAC covers: those that decide what a key may be used for, its id, its epoch,
 * and the wrapping that the epoch belongs to.
 */
export type StateFields = Pick<
  KeyRecord,
  | 'id'
  | 'state'
  | 'activatedAt'
  | 'deactivatedAt'
  | 'compromisedAt'
  | 'destroyedAt'
  | 'expiresAt'
  | 'epoch'
  | 'recordMac'
  | 'wrapped'
>;

/** Computes the state MAC of a key from its record; holds no readable key bytes. */
export type StateAuthenticator = (fields: StateFields) => Buffer;

/** The fields that a change of state or wrapping writes. */
export type StateChange = Partial<Omit<StateFields, 'id'>> & Pick<KeyRecord, 'stateMac' | 'epoch'>;

/** The fields that a change of state or wrapping may set. */
export type ChangedFields = Partial<Omit<StateFields, 'id' | 'epoch'>>;

/**
 * The states that only restrict. They are honoured without a MAC, so that a key can be taken out of use
 * while the KMS is away; nothing is gained by writing one into the table by hand.
 */
const HONOURED_UNPROVEN: ReadonlySet<KeyState> = new Set(['compromised', 'destroyed']);

const NO_MAC = new Uint8Array();

/**
 * The state MAC of a key: `HMAC-SHA-256(HKDF-SHA-256(key, label), lengthPrefixed(fields))`.
 *
 * In rows of epoch 0, from before there were epochs, it covers state and dates alone. The caller wipes
 * `key`.
 */
export function stateAuthenticator(key: Uint8Array): StateAuthenticator {
  const macKey = deriveHmacKey(key, lengthPrefixed([LABELS.keyStateMac]));
  return (fields) => hmacSha256(macKey, stateBytes(fields));
}

/** Returns a change with the MAC that proves it. */
export function provenChange(
  authenticate: StateAuthenticator,
  record: Omit<StateFields, 'epoch'>,
  changes: ChangedFields,
  epoch: number,
): StateChange {
  return { ...changes, epoch, stateMac: authenticate({ ...record, ...changes, epoch }) };
}

/** Returns a change to a state that is honoured without a proof. Needs no KMS. */
export function unprovenChange(
  changes: ChangedFields & { readonly state: 'compromised' | 'destroyed' },
  epoch: number,
): StateChange {
  return { ...changes, epoch, stateMac: NO_MAC };
}

/** Whether a state is honoured without a proof. */
export function takesAway(state: KeyState): boolean {
  return HONOURED_UNPROVEN.has(state);
}

/** Whether the state MAC of a record was made by this library. */
export function isProven(record: KeyRecord, authenticate: StateAuthenticator): boolean {
  return (
    record.unreadable === undefined && equalInConstantTime(record.stateMac, authenticate(record))
  );
}

/**
 * Refuses a key whose state, or one of its dates, was not written by this library.
 *
 * @throws {@link KeyStateError}
 */
export function requireProvenState(record: KeyRecord, authenticate: StateAuthenticator): void {
  if (takesAway(record.state) || isProven(record, authenticate)) return;
  const { id, state } = record;
  throw new KeyStateError(
    `${keyTitle(record)}: by its row it is ${stateInWords(state)}, and the row's state ` +
      `or a date was edited.${aboutUnreadable(record)} Restore the row from a backup; or revoke the key, ` +
      'which lets its rows be read and nothing be written.',
    { keyId: id },
  );
}

/**
 * Refuses a key that was taken out of use with a MAC over its dates, if they have changed since.
 *
 * @throws {@link KeyStateError}
 */
export function requireProvenDates(record: KeyRecord, authenticate: StateAuthenticator): void {
  if (record.stateMac.length === 0 || isProven(record, authenticate)) return;
  const { id, state } = record;
  throw new KeyStateError(
    `${keyTitle(record)} is ${state}, and a date in its row was edited, or ` +
      `its state.${aboutUnreadable(record)} No wait can go by them. Restore the row from a backup; or, where ` +
      'no process has the key in memory any more, destroy it with a grace of 0.',
    { keyId: id },
  );
}

function stateBytes(fields: StateFields): Uint8Array {
  return lengthPrefixed([
    fields.id,
    fields.state,
    seconds(fields.activatedAt),
    seconds(fields.deactivatedAt),
    seconds(fields.compromisedAt),
    seconds(fields.destroyedAt),
    seconds(fields.expiresAt),
    ...epochParts(fields),
  ]);
}

/** Empty for a row from before there were epochs, so that its MAC stays valid. */
function epochParts({ epoch, recordMac, wrapped }: StateFields): (string | Uint8Array)[] {
  if (epoch === 0) return [];
  return [String(epoch), recordMac, createHash('sha256').update(wrapped).digest()];
}

function seconds(date: Date | null): string {
  return date === null ? '' : String(Math.floor(date.getTime() / 1000));
}
