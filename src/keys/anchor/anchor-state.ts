import type { AuditSeal } from '../../audit/audit-log';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime } from '../../crypto/secret-bytes';
import { decodeBase64url } from '../../encoding/base64url';
import type { KeyState, KnownKey } from '../record/key-state';

import { decodeFacts, encodeFacts, includesFacts } from './anchored-facts';
import type { AnchoredFacts } from './anchored-facts';

/**
 * A place outside of the database that remembers how new the key table was: a file, a parameter store,
 * a secret, a tag of the KMS's key. It holds one text without secrets: ids of keys, numbers and states,
 * under a MAC of the key that seals the audit log.
 *
 * It is read at the start of a process, and written after each change of a key. Anyone who can write to
 * it can put an older text back, or remove it; anyone who can do that **and** write to the database can
 * put older keys back. A forged text is refused.
 */
export interface KeyTableAnchor {
  /** Returns the text that was written last; undefined before the first. A failure is retried. */
  read(): Promise<string | undefined>;
  /**
   * Stores a text of about 60 characters and 18 for each key of the table; about 120 more once the audit log was verified,
   * and with approvals as many again, and 80 for each request that was carried out, for a day after its end.
   *
   * @param state - ASCII letters, digits and `.-_`
   * @param previous - the text that {@link KeyTableAnchor.read} gave just before. A store that can
   * compare and swap throws if it has another by now; the text is then made anew.
   */
  write(state: string, previous: string | undefined): Promise<void>;
  /** Throws if it could not be read or written now, and changes nothing: for `doctor`. Optional. */
  check?(): Promise<void>;
}

/** The content of an anchor. */
export interface AnchorState {
  /** The highest epoch that was given up when an older table was accepted; 0 for none. */
  readonly acceptedEpoch: number;
  readonly keys: readonly KnownKey[];
  /** Undefined where there are none. */
  readonly facts?: AnchoredFacts | undefined;
}

/** The content of a text in the form of an anchor. Only its seal shows whether it is genuine. */
export interface SealedAnchor extends AnchorState {
  /** Id of the audit-log key that seals it. */
  readonly sealedBy: string;
  readonly holds: (seal: AuditSeal, application: string) => boolean;
}

/** Stored by position: a state can be added at the end, never moved. */
const STATES: readonly KeyState[] = [
  'preActive',
  'active',
  'suspended',
  'deactivated',
  'compromised',
  'destroyed',
];

/** `id(8) ‖ epoch(4) ‖ state(1)` for each key. */
const ENTRY_BYTES = 13;
const VERSION = 'anchor1';
const MAX_CHARS = 2 ** 21;

/** `anchor1.<accepted epoch>[-<facts>].<keys>.<id of the sealing key>.<MAC>`, bytes as base64url. */
export function sealAnchor(state: AnchorState, seal: AuditSeal, application: string): string {
  const keys = encodeKeys(state.keys).toString('base64url');
  const accepted = String(state.acceptedEpoch) + encodeFacts(state.facts);
  const body = [VERSION, accepted, keys, seal.keyId].join('.');
  return `${body}.${macOf(body, seal, application).toString('base64url')}`;
}

/** Reads the text of an anchor; undefined for any other. */
export function parseAnchor(text: string): SealedAnchor | undefined {
  if (text.length > MAX_CHARS) return undefined;
  const [, body = '', accepted = '', facts = '', encoded = '', sealedBy = '', mac = ''] =
    /^(anchor1\.(\d{1,10})(-[\w-]+)?\.([\w-]*)\.([0-9a-f]{16}))\.([\w-]{43})$/.exec(text.trim()) ??
    [];
  const keys = decodeKeys(encoded);
  if (body === '' || keys === undefined) return undefined;
  return {
    acceptedEpoch: Number(accepted),
    keys,
    facts: decodeFacts(facts),
    sealedBy,
    holds: (seal, application) =>
      equalInConstantTime(Buffer.from(mac, 'base64url'), macOf(body, seal, application)),
  };
}

function macOf(body: string, seal: AuditSeal, application: string): Buffer {
  return seal.mac(LABELS.keyAnchor, [application, body]);
}

function encodeKeys(keys: readonly KnownKey[]): Buffer {
  const bytes = Buffer.alloc(keys.length * ENTRY_BYTES);
  const sorted = [...keys].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const [at, { id, epoch, state }] of sorted.entries()) {
    bytes.write(id, at * ENTRY_BYTES, 'hex');
    bytes.writeUInt32BE(epoch, at * ENTRY_BYTES + 8);
    bytes.writeUInt8(STATES.indexOf(state), at * ENTRY_BYTES + 12);
  }
  return bytes;
}

function decodeKeys(encoded: string): KnownKey[] | undefined {
  const bytes = encoded === '' ? Buffer.alloc(0) : decodeBase64url(encoded);
  if (bytes === undefined || bytes.length % ENTRY_BYTES !== 0) return undefined;
  const keys: KnownKey[] = [];
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    const state = STATES[bytes.readUInt8(at + 12)];
    if (state === undefined) return undefined;
    keys.push({ id: bytes.toString('hex', at, at + 8), epoch: bytes.readUInt32BE(at + 8), state });
  }
  return keys;
}

/** Returns the state of an anchor with what is known beside it. */
export function mergedState(
  state: AnchorState | undefined,
  { keys: known, facts }: Pick<AnchorState, 'keys' | 'facts'>,
): AnchorState {
  const { acceptedEpoch = 0, keys = [] } = state ?? {};
  const merged = new Map(keys.map((key) => [key.id, key]));
  for (const key of known) {
    const before = merged.get(key.id);
    // A process that remembers what was given up with an older table must not bring it back.
    if (acceptedEpoch > 0 && key.epoch <= acceptedEpoch) continue;
    if (before?.state === 'destroyed' && key.state !== 'destroyed') continue;
    if (before === undefined || before.epoch < key.epoch) merged.set(key.id, key);
  }
  return { acceptedEpoch, keys: [...merged.values()], facts };
}

/** Whether an anchor knows what another state does. */
export function holdsState(state: AnchorState | undefined, other: AnchorState): boolean {
  const epochs = new Map(state?.keys.map(({ id, epoch }) => [id, epoch]));
  const areKnown = other.keys.every(({ id, epoch }) => (epochs.get(id) ?? -1) >= epoch);
  return areKnown && includesFacts(state?.facts, other.facts);
}
