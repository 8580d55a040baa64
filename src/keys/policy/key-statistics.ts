import type { KeyInfo } from '../record/key-info';
import type { KeyState } from '../record/key-state';

/** Counts of data keys, every version for itself. */
export interface KeyStatistics {
  readonly total: number;
  readonly active: number;
  /** Active ones past their cryptoperiod. */
  readonly expired: number;
  /** By state; states that no key is in are left out. */
  readonly byState: Readonly<Partial<Record<KeyState, number>>>;
  /** Those that are not destroyed, by the days since they were created. */
  readonly byAge: Readonly<Record<(typeof AGES)[number]['name'], number>>;
  /** Days since the oldest active one was activated; `null` without any. */
  readonly oldestActiveDays: number | null;
}

const AGES = [
  { name: 'upTo30Days', days: 30 },
  { name: 'upTo90Days', days: 90 },
  { name: 'upTo365Days', days: 365 },
  { name: 'older', days: Infinity },
] as const;

const DAY_MS = 86_400_000;

/** Counts keys by what is known of them at a time. */
export function keyStatistics(keys: readonly KeyInfo[], now: Date): KeyStatistics {
  const active = keys.filter(({ state }) => state === 'active');
  const kept = keys.filter(({ state }) => state !== 'destroyed');
  const ages = active.map(({ activatedAt, createdAt }) => daysSince(activatedAt ?? createdAt, now));
  const byState: Partial<Record<KeyState, number>> = {};
  for (const { state } of keys) byState[state] = (byState[state] ?? 0) + 1;
  const byAge = { upTo30Days: 0, upTo90Days: 0, upTo365Days: 0, older: 0 };
  for (const { createdAt } of kept) byAge[ageOf(daysSince(createdAt, now))] += 1;
  return {
    total: keys.length,
    active: active.length,
    expired: active.filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now).length,
    byState,
    byAge,
    oldestActiveDays: ages.length === 0 ? null : Math.max(...ages),
  };
}

function ageOf(age: number): (typeof AGES)[number]['name'] {
  return AGES.find(({ days }) => age <= days)?.name ?? 'older';
}

function daysSince(date: Date, now: Date): number {
  return Math.max(0, Math.floor((now.getTime() - date.getTime()) / DAY_MS));
}
