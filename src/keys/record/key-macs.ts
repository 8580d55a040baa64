import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { hkdfSha256, hmacKey, hmacSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyStateError } from '../../errors';

import { aboutUnreadable, keyTitle } from './key-record';
import type { KeyRecord } from './key-record';
import { stateInWords } from './key-state';
import type { KeyState } from './key-state';

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
    return hmacSha256(hmacKey(macKey), recordBytes(fields, application));
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
 * What the state MAC covers: all that decides what a key may be used for, its id, its epoch, and the
 * wrapping that the epoch belongs to.
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

/** What a change of state or wrapping writes. */
export type StateChange = Partial<Omit<StateFields, 'id'>> & Pick<KeyRecord, 'stateMac' | 'epoch'>;

/** What a change of state or wrapping is about. */
export type ChangedFields = Partial<Omit<StateFields, 'id' | 'epoch'>>;

/**
 * States that only take away. They are honoured without a MAC, so that a key can be taken out of use
 * while the KMS is away; writing one into the table by hand gains nothing.
 */
const HONOURED_UNPROVEN: ReadonlySet<KeyState> = new Set(['compromised', 'destroyed']);

const NO_MAC = new Uint8Array();

/**
 * The state MAC of a key: `HMAC-SHA-256(HKDF-SHA-256(key, label), lengthPrefixed(fields))`.
 *
 * Rows of epoch 0 have it from before there were epochs: over their state and dates alone. The caller
 * wipes `key`.
 */
export function stateAuthenticator(key: Uint8Array): StateAuthenticator {
  const bytes = hkdfSha256({ key, info: lengthPrefixed([LABELS.keyStateMac]), bytes: 32 });
  let macKey: KeyObject;
  try {
    macKey = hmacKey(bytes);
  } finally {
    wipe(bytes);
  }
  return (fields) => hmacSha256(macKey, stateBytes(fields));
}

/** A change with the MAC that proves it. */
export function provenChange(
  authenticate: StateAuthenticator,
  record: Omit<StateFields, 'epoch'>,
  changes: ChangedFields,
  epoch: number,
): StateChange {
  return { ...changes, epoch, stateMac: authenticate({ ...record, ...changes, epoch }) };
}

/** A change to a state that is honoured without a proof; needs no KMS. */
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

/** Whether the state MAC of a record is the one that this library made. */
export function isProven(record: KeyRecord, authenticate: StateAuthenticator): boolean {
  return (
    record.unreadable === undefined && equalInConstantTime(record.stateMac, authenticate(record))
  );
}

/**
 * Refuses a key whose state, or a date that goes with it, is not what this library wrote.
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
 * Refuses a key that was taken out of use and proves its dates with a MAC, where they are others now.
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

/** Nothing for a row from before there were epochs, whose MAC is then what it was. */
function epochParts({ epoch, recordMac, wrapped }: StateFields): (string | Uint8Array)[] {
  if (epoch === 0) return [];
  return [String(epoch), recordMac, createHash('sha256').update(wrapped).digest()];
}

function seconds(date: Date | null): string {
  return date === null ? '' : String(Math.floor(date.getTime() / 1000));
}
