import { KeyStateError } from '../../errors';

import { nameTitle } from './key-record';
import type { KeyPurpose, KeyRecord } from './key-record';

/**
 * Returns the one active record of a name.
 *
 * @throws {@link KeyStateError} if there are several: it cannot be known which of them is meant, and for an
 * index, which of them the stored tokens come from.
 */
export function soleActive(records: readonly KeyRecord[]): KeyRecord | undefined {
  const [first, second] = records.filter((record) => record.state === 'active');
  if (first === undefined || second === undefined) return first;
  throw new KeyStateError(
    `${nameTitle(first.purpose, first.name)}: versions ${String(first.version)} and ${String(second.version)} are ` +
      'both active. Deactivate one of them in the key table, and restore its unique index.',
    { keyId: second.id },
  );
}

/** Returns the pre-active version that is to follow the active one. */
export function announcedAfter(
  versions: readonly KeyRecord[],
  active: KeyRecord | undefined,
): KeyRecord | undefined {
  return versions
    .filter(({ state, version }) => state === 'preActive' && version > (active?.version ?? 0))
    .sort((a, b) => b.version - a.version)[0];
}

/** Returns the highest version among records of one name; 0 for none. */
export function highestVersion(versions: readonly KeyRecord[]): number {
  return Math.max(0, ...versions.map((record) => record.version));
}

/** Selects the versions of one key. */
export function isVersionOf(purpose: KeyPurpose, name: string): (record: KeyRecord) => boolean {
  return (record) => record.purpose === purpose && record.name === name;
}

/** A key has versions, but an operator has taken the active one out of use. */
export class NoActiveKeyError extends KeyStateError {
  override readonly name = 'KeyStateError';
}

/** For a name whose versions cannot encrypt. */
export function noActiveKey(
  purpose: KeyPurpose,
  name: string,
  versions: readonly KeyRecord[],
): NoActiveKeyError {
  const title = nameTitle(purpose, name);
  const suspended = versions.filter(({ state }) => state === 'suspended');
  const [latest] = suspended.sort((a, b) => b.version - a.version);
  if (latest !== undefined) {
    return new NoActiveKeyError(
      `${title}: version ${String(latest.version)} is suspended, nothing is encrypted with it. ` +
        `Resume key ${latest.id}, or rotate.`,
      { keyId: latest.id },
    );
  }
  return new NoActiveKeyError(
    `${title}: none of its ${String(versions.length)} versions is active, nothing can be ` +
      'encrypted with it. Rotate the key, or restore its active row.',
  );
}
