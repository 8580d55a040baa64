import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { highestVersion, isVersionOf } from '../record/key-versions';

import type { KeyWrapper } from './key-wrapper';
import { opens } from './row-proofs';

/** The versions in the audit log. */
interface RecordedVersions<C> {
  highestVersion(purpose: KeyPurpose, name: string, limit: number, connection?: C): Promise<number>;
}

/** The places that know of versions whose rows are gone. */
export interface VersionKnowledge<C> {
  readonly wrapper: KeyWrapper;
  /** Undefined where nothing is recorded. */
  readonly audit: RecordedVersions<C> | undefined;
}

/** How far an unproven number may be ahead of the proven ones and still count. */
const REACH = 2 ** 20;
/** How far beyond a number that is out of reach the log is searched for those that were given. */
const NEAR = 2 ** 10;
/** How many rows with numbers out of reach are unwrapped to see whether they are genuine. */
const MAX_PROOFS = 8;

/**
 * Returns the version for a new key of a name: above all in the table and the audit log, and above those
 * that are gone and that this process or the anchor still knows. The same number twice would make it
 * impossible to restore the right key from a backup.
 *
 * @param records - the whole key table.
 * @param connection - the caller's, if it holds one.
 */
export async function nextVersion<C>(
  { wrapper, audit }: VersionKnowledge<C>,
  purpose: KeyPurpose,
  name: string,
  records: readonly KeyRecord[],
  connection?: C,
): Promise<number> {
  const versions = records.filter(isVersionOf(purpose, name));
  const limit = (await highestProvenAhead(wrapper, versions)) + REACH;
  const inTable = highestVersion(versions.filter(({ version }) => version <= limit));
  const logged = (await audit?.highestVersion(purpose, name, limit, connection)) ?? 0;
  const next = firstFree(Math.max(inTable, logged) + countGone(wrapper, records) + 1, versions);
  if (next <= limit) return next;
  // Only made-up numbers lead here, and the log may know numbers that were given after them.
  const near = (await audit?.highestVersion(purpose, name, next + NEAR, connection)) ?? 0;
  return firstFree(Math.max(next, near + 1), versions);
}

/** Returns the first number from here on that no row has: made-up ones may lie beyond all others. */
function firstFree(from: number, versions: readonly KeyRecord[]): number {
  const taken = new Set(versions.map(({ version }) => version));
  let free = from;
  while (taken.has(free)) free += 1;
  return free;
}

/** A number written into the table by hand must not exhaust the numbers. */
async function highestProvenAhead(
  wrapper: KeyWrapper,
  versions: readonly KeyRecord[],
): Promise<number> {
  const ahead = versions.filter(({ version }) => version > REACH);
  const newestFirst = ahead.sort((a, b) => b.version - a.version).slice(0, MAX_PROOFS);
  for (const record of newestFirst) {
    if (await opens(wrapper, record)) return record.version;
  }
  return 0;
}

/**
 * Counts the keys that are gone. Their numbers are known to neither the process nor the anchor; but as
 * each followed another, none can be further ahead of the rows than this count.
 */
function countGone({ epochs }: KeyWrapper, records: readonly KeyRecord[]): number {
  const ids = new Set(records.map(({ id }) => id));
  return epochs.known().filter(({ id }) => !ids.has(id)).length;
}
