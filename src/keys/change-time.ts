import type { KeyRecord } from './key-record';
import type { KeyChange } from './key-store';

/**
 * Milliseconds that a change of a key may take from the date that it is given to its last statement,
 * and again from there to its commit.
 */
export const CHANGE_MS = 15_000;

/**
 * How much longer than asked for a wait lasts that counts from a date in the key table: the date is cut
 * to the second before it, and other processes see the change with its commit.
 */
export const SETTLING_MS = 1000 + 2 * CHANGE_MS;

/** When a wait of so many milliseconds is over. One of none at all is over at once. */
export function endOfWait(since: Date, ms: number): Date {
  return new Date(since.getTime() + (ms > 0 ? ms + SETTLING_MS : 0));
}

/** Whether the dates that waits will count from are not older than {@link CHANGE_MS}. */
export function isTimely(changes: readonly KeyChange[], now: Date): boolean {
  return changes
    .flatMap((change) => countedFrom(change) ?? [])
    .every((date) => now.getTime() - date.getTime() <= CHANGE_MS + 1000);
}

function countedFrom(change: KeyChange): Date | undefined {
  if (change.type === 'insert') {
    const { state, createdAt } = change.record;
    return state === 'preActive' ? createdAt : undefined;
  }
  const { deactivatedAt }: Partial<Pick<KeyRecord, 'deactivatedAt'>> = change.set;
  const isNew = deactivatedAt?.getTime() !== change.expected.deactivatedAt?.getTime();
  return isNew ? (deactivatedAt ?? undefined) : undefined;
}
