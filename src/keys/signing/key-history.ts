import type { KeyRecord } from '../record/key-record';
import type { KeyState } from '../record/key-state';

import { vouchesForNext, vouchesForPrevious } from './key-change';
import type { KeyChangeStatement, PublicKeyVersion } from './key-change';
import type { SigningKeyRow } from './signing-key-store';

/** A version of a signing key whose public half was proven by the KMS, or by a newer version. */
export interface ProvenKey extends PublicKeyVersion {
  readonly state: KeyState;
  readonly isCompromised: boolean;
}

/** A version on the way to the active one. */
export interface HistoryStep extends PublicKeyVersion {
  /** The signature by which it vouches for the next one; undefined for the last. */
  readonly vouches: Uint8Array | undefined;
}

/** The key that a history is of. */
type Subject = Pick<KeyChangeStatement, 'application' | 'name'>;

/** Whether somebody else may have a key; also of a destroyed one. */
export function isCompromised({ state, compromisedAt }: KeyRecord): boolean {
  return state === 'compromised' || compromisedAt !== null;
}

/**
 * Proves the public halves of the versions of a key: by the KMS, and of destroyed ones by what the next version says,
 * unless that was compromised. Leaves out those that nothing proves.
 *
 * @param versions - records of the key table.
 * @param rows - the rows with the public halves, which nothing but signatures proves.
 * @returns the oldest first.
 */
export async function provenKeys(
  subject: Subject,
  versions: readonly KeyRecord[],
  rows: readonly SigningKeyRow[],
  open: (record: KeyRecord) => Promise<Uint8Array>,
): Promise<ProvenKey[]> {
  const proven: ProvenKey[] = [];
  for (const record of [...versions].sort((a, b) => b.version - a.version)) {
    const [next] = proven;
    const publicKey =
      record.state === 'destroyed' ? saidBy(next, { subject, record, rows }) : await open(record);
    if (publicKey === undefined) continue;
    const { id, version, state } = record;
    proven.unshift({ id, version, state, publicKey, isCompromised: isCompromised(record) });
  }
  return proven;
}

function saidBy(
  next: ProvenKey | undefined,
  known: {
    readonly subject: Subject;
    readonly record: KeyRecord;
    readonly rows: readonly SigningKeyRow[];
  },
): Uint8Array | undefined {
  if (next === undefined || next.isCompromised) return undefined;
  const { subject, record, rows } = known;
  const { id, version } = record;
  const own = rows.find((row) => row.keyId === id);
  const statement = rows.find((row) => row.keyId === next.id);
  if (own === undefined || statement === undefined) return undefined;
  const previous = { id, version, publicKey: own.publicKey };
  const isSaid = vouchesForPrevious({ ...subject, previous, next }, statement.signsPrevious);
  return isSaid ? own.publicKey : undefined;
}

/** Returns the versions that vouch for each other up to the newest, the oldest first. */
export function historyOf(
  subject: Subject,
  proven: readonly ProvenKey[],
  rows: readonly SigningKeyRow[],
): HistoryStep[] {
  const steps: HistoryStep[] = [];
  for (const key of [...proven].reverse()) {
    const [next] = steps;
    const vouches = rows.find(({ keyId }) => keyId === next?.id)?.signedByPrevious;
    if (next !== undefined) {
      if (key.isCompromised || vouches === undefined) break;
      if (!vouchesForNext({ ...subject, previous: key, next }, vouches)) break;
    }
    const { id, version, publicKey } = key;
    steps.unshift({ id, version, publicKey, vouches: next === undefined ? undefined : vouches });
  }
  return steps;
}
