import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { highestVersion, isVersionOf } from '../record/key-versions';
import type { KeyWrapper } from './key-wrapper';
import { opens } from './row-proofs';

/** The audit log, as far as it knows versions. */
interface RecordedVersions<C> {
  highestVersion(purpose: KeyPurpose, name: string, limit: number, connection?: C): Promise<number>;
}

/** What knows of versions whose rows are gone. */
export interface VersionKnowledge<C> {
  readonly wrapper: KeyWrapper;
  /** Undefined where nothing is recorded. */
  readonly audit: RecordedVersions<C> | undefined;
}

/** By how much a number that nothing proves may be ahead of the proven ones and still be counted from. */
const REACH = 2 ** 20;
/** How far beyond a number that is out of reach the log is asked for those that were given. */
const NEAR = 2 ** 10;
/** How many rows with numbers that are farther ahead are unwrapped to see whether they are genuine. */
const MAX_PROOFS = 8;

/**
 * The version for a new key of a name: above all that the table and the audit log have, and above those
 * that are gone and that this process or the anchor still knows. The same number twice would make the
 * right key's way back from a backup impossible.
 *
 * @param records - the whole key table.
 * @param connection - the one that the caller holds, if any.
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
  // Only numbers that somebody took lead here, and the log may know those that came after them.
  const near = (await audit?.highestVersion(purpose, name, next + NEAR, connection)) ?? 0;
  return firstFree(Math.max(next, near + 1), versions);
}

/** The first number from here on that no row has: those that somebody made up may lie beyond all others. */
function firstFree(from: number, versions: readonly KeyRecord[]): number {
  const taken = new Set(versions.map(({ version }) => version));
  let free = from;
  while (taken.has(free)) free += 1;
  return free;
}

/** A number that somebody writes into the table by hand must not use the numbers up. */
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
 * Neither the process nor the anchor knows the numbers of the keys that are gone, only how many there
 * are: as each had the number after another one, none is higher than so many ahead of the rows.
 */
function countGone({ epochs }: KeyWrapper, records: readonly KeyRecord[]): number {
  const ids = new Set(records.map(({ id }) => id));
  return epochs.known().filter(({ id }) => !ids.has(id)).length;
}
