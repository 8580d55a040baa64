import { createHash } from 'node:crypto';

import type { RowKey } from '../database/row';
import { MAX_FAILURES_LISTED } from '../report/run-report';

/** The claim of a row to a content that only one row may have. */
export interface Claim {
  /** Position of the unique index among those of the table. */
  readonly index: number;
  readonly content: string;
  readonly key: RowKey;
  /** Whether the row already has the content, and so keeps it against other claims. */
  readonly held: boolean;
}

/** A row that would be refused, and the one that has what it claims. */
export interface Duplicate {
  readonly index: number;
  readonly key: RowKey;
  readonly holder: RowKey;
}

/** The rows that a unique index would refuse. */
export interface Duplicates {
  readonly count: number;
  /** The first of them, by any order. */
  readonly listed: readonly Duplicate[];
}

/** Hashes in memory at a time: 32 MB. */
const HASHES_AT_ONCE = 2 ** 22;

/**
 * Finds the claims that another one stands against. Memory does not grow with the table: of each claim only a
 * hash of 52 bits is kept, sorted, and of more claims than {@link HASHES_AT_ONCE} one part after the other.
 * Contents are compared as they are only where hashes are equal, for the rows that are named.
 *
 * @param expected - about how many claims there are.
 * @param read - reads all claims, page by page; called once for each part, and once more to name rows.
 */
export async function findDuplicates(
  expected: number,
  read: () => AsyncIterable<readonly Claim[]>,
): Promise<Duplicates> {
  const parts = Math.max(1, Math.ceil(expected / HASHES_AT_ONCE));
  const repeated = new Set<number>();
  let count = 0;
  for (let part = 0; part < parts; part++) {
    for (const hash of await repeatedHashes(read(), parts, part)) {
      count += 1;
      if (repeated.size < MAX_FAILURES_LISTED) repeated.add(hash);
    }
  }
  if (count === 0) return { count, listed: [] };
  const groups = await claimGroups(read(), repeated);
  const found = groups.reduce((sum, group) => sum + group.duplicates, 0);
  const listed = groups.flatMap(duplicatesOf).slice(0, MAX_FAILURES_LISTED);
  // Where all hashes were looked at, what only shared one is known, too.
  return { count: repeated.size < MAX_FAILURES_LISTED ? found : count, listed };
}

/** Returns each hash of a part as often as it repeats one. */
async function repeatedHashes(
  pages: AsyncIterable<readonly Claim[]>,
  parts: number,
  part: number,
): Promise<number[]> {
  let hashes = new Float64Array(1024);
  let used = 0;
  for await (const page of pages) {
    for (const claim of page) {
      const hash = hashOf(claim);
      if (hash % parts !== part) continue;
      if (used === hashes.length) hashes = grown(hashes);
      hashes[used++] = hash;
    }
  }
  const sorted = hashes.subarray(0, used).sort();
  const repeated: number[] = [];
  for (let i = 1; i < sorted.length; i++) {
    const hash = sorted[i];
    if (hash !== undefined && hash === sorted[i - 1]) repeated.push(hash);
  }
  return repeated;
}

function grown(hashes: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(hashes.length * 2);
  larger.set(hashes);
  return larger;
}

function hashOf({ index, content }: Claim): number {
  const digest = createHash('sha256')
    .update(`${String(index)}:${content}`)
    .digest();
  return digest.readUInt32BE(0) * 2 ** 20 + (digest.readUInt32BE(4) >>> 12);
}

/** The claims to one content, in the order in which they were read. */
interface ClaimGroup {
  readonly index: number;
  holder: RowKey;
  isHeld: boolean;
  duplicates: number;
  /** Some of the others. */
  readonly others: RowKey[];
}

async function claimGroups(
  pages: AsyncIterable<readonly Claim[]>,
  repeated: ReadonlySet<number>,
): Promise<ClaimGroup[]> {
  const groups = new Map<string, ClaimGroup>();
  for await (const page of pages) {
    for (const claim of page) {
      if (repeated.has(hashOf(claim))) addTo(groups, claim);
    }
  }
  return [...groups.values()];
}

function addTo(groups: Map<string, ClaimGroup>, { index, content, key, held }: Claim): void {
  const name = `${String(index)}:${content}`;
  const group = groups.get(name);
  if (group === undefined) {
    groups.set(name, { index, holder: key, isHeld: held, duplicates: 0, others: [] });
    return;
  }
  const isNewHolder = held && !group.isHeld;
  const other = isNewHolder ? group.holder : key;
  if (isNewHolder) Object.assign(group, { holder: key, isHeld: true });
  group.duplicates += 1;
  if (group.others.length < MAX_FAILURES_LISTED) group.others.push(other);
}

function duplicatesOf({ index, holder, others }: ClaimGroup): Duplicate[] {
  return others.map((key) => ({ index, key, holder }));
}
