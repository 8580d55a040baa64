import type { KeyObject } from 'node:crypto';

import { equalInConstantTime } from '../crypto/constant-time';
import { hkdfSha256 } from '../crypto/hkdf';
import { hmacKey, hmacSha256 } from '../crypto/hmac';
import { LABELS } from '../crypto/labels';
import { wipe } from '../crypto/wipe';
import { lengthPrefixed } from '../encoding/length-prefixed';
import { KeyStateError } from '../errors';
import type { KeyRecord } from './key-record';
import type { KeyState } from './key-state';

/** What the state MAC covers: all that decides what a key may be used for, and its id. */
export type StateFields = Pick<
  KeyRecord,
  'id' | 'state' | 'activatedAt' | 'deactivatedAt' | 'compromisedAt' | 'destroyedAt' | 'expiresAt'
>;

/** Computes the state MAC of a key from its record; holds no readable key bytes. */
export type StateAuthenticator = (fields: StateFields) => Buffer;

/** What a change of state writes. */
export type StateChange = Partial<Omit<StateFields, 'id'>> & Pick<KeyRecord, 'stateMac'>;

/**
 * States that only take away. They are honoured without a MAC, so that a key can be taken out of use
 * while the KMS is away; whoever writes one into the table by hand gains nothing by it.
 */
const HONOURED_UNPROVEN: ReadonlySet<KeyState> = new Set(['compromised', 'destroyed']);

const NO_MAC = new Uint8Array();

/**
 * The state MAC of a key: `HMAC-SHA-256(HKDF-SHA-256(key, label), lengthPrefixed(fields))`.
 *
 * Apart from the record MAC, which ties the row to its wrapping: a rewrap leaves this one alone, and
 * a change of state that one. The caller wipes `key`.
 */
export function stateAuthenticator(key: Uint8Array): StateAuthenticator {
  const bytes = hkdfSha256({ key, info: lengthPrefixed([LABELS.keyStateMac]), bytes: 32 });
  let macKey: KeyObject;
  try {
    macKey = hmacKey(bytes);
  } finally {
    wipe(bytes);
  }
  return (fields) => hmacSha256(macKey, authenticatedBytes(fields));
}

/** A change of state with the MAC that proves it. */
export function provenChange(
  authenticate: StateAuthenticator,
  record: StateFields,
  changes: Partial<Omit<StateFields, 'id'>>,
): StateChange {
  return { ...changes, stateMac: authenticate({ ...record, ...changes }) };
}

/** A change to a state that is honoured without a proof; needs no KMS. */
export function unprovenChange(
  changes: Partial<Omit<StateFields, 'id' | 'state'>> & {
    readonly state: 'compromised' | 'destroyed';
  },
): StateChange {
  return { ...changes, stateMac: NO_MAC };
}

/**
 * Refuses a key whose state, or a date that goes with it, is not what this library wrote.
 *
 * @throws {@link KeyStateError}
 */
export function requireProvenState(record: KeyRecord, authenticate: StateAuthenticator): void {
  if (HONOURED_UNPROVEN.has(record.state)) return;
  if (equalInConstantTime(record.stateMac, authenticate(record))) return;
  const { id, name, version, state } = record;
  throw new KeyStateError(
    `key ${id} ("${name}" version ${String(version)}): its row says ${state}, and the row's state ` +
      `or a date was edited. Restore the row from a backup; or revoke the key, ` +
      'which lets its rows be read and nothing be written.',
    { keyId: id },
  );
}

function authenticatedBytes(fields: StateFields): Uint8Array {
  return lengthPrefixed([
    fields.id,
    fields.state,
    seconds(fields.activatedAt),
    seconds(fields.deactivatedAt),
    seconds(fields.compromisedAt),
    seconds(fields.destroyedAt),
    seconds(fields.expiresAt),
  ]);
}

function seconds(date: Date | null): string {
  return date === null ? '' : String(Math.floor(date.getTime() / 1000));
}
