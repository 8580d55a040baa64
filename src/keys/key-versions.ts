import { KeyStateError } from '../errors';
import type { KeyPurpose, KeyRecord } from './key-record';
import { nameTitle } from './key-title';

/**
 * Picks the one active record of a name.
 *
 * @throws {@link KeyStateError} where there are several: which of them is meant, and for an index
 * which of them the stored tokens come from, cannot be known.
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

/** The pre-active version that is to follow the active one. */
export function announcedAfter(
  versions: readonly KeyRecord[],
  active: KeyRecord | undefined,
): KeyRecord | undefined {
  return versions
    .filter(({ state, version }) => state === 'preActive' && version > (active?.version ?? 0))
    .sort((a, b) => b.version - a.version)[0];
}

/** The highest version among records of one name; 0 for none. */
export function highestVersion(versions: readonly KeyRecord[]): number {
  return Math.max(0, ...versions.map((record) => record.version));
}

/** Selects the versions of one key. */
export function isVersionOf(purpose: KeyPurpose, name: string): (record: KeyRecord) => boolean {
  return (record) => record.purpose === purpose && record.name === name;
}
