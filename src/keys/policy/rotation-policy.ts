import { Cron } from 'croner';

import type { KeyRecord } from '../record/key-record';

const DAY_MS = 86_400_000;
const DEFAULT_PERIOD_DAYS = 90;
const DEFAULT_BEFORE_EXPIRY_DAYS = 7;

/** When a data key is to be rotated by `maintain()`. */
export type RotationPolicy =
  /** Only by a call of `rotate`. */
  | { readonly kind: 'manual' }
  /** That long after its activation; 90 days by default. */
  | { readonly kind: 'periodic'; readonly everyDays?: number }
  /** That long before it expires; 7 days by default. Needs `cryptoperiodDays`. */
  | { readonly kind: 'beforeExpiry'; readonly days?: number }
  /** At the first time of the cron pattern after its activation, in UTC by default. */
  | { readonly kind: 'cron'; readonly pattern: string; readonly timezone?: string }
  /** After it has encrypted this many values. */
  | { readonly kind: 'useCount'; readonly maxUses: number };

/** Returns when the active key is to be replaced; `null` for never. */
export function nextRotationAt(
  policy: RotationPolicy,
  { activatedAt, expiresAt, useCount }: Pick<KeyRecord, 'activatedAt' | 'expiresAt' | 'useCount'>,
): Date | null {
  switch (policy.kind) {
    case 'manual':
      return null;
    case 'periodic':
      return shifted(activatedAt, policy.everyDays ?? DEFAULT_PERIOD_DAYS);
    case 'beforeExpiry':
      return shifted(expiresAt, -(policy.days ?? DEFAULT_BEFORE_EXPIRY_DAYS));
    case 'cron':
      return activatedAt === null
        ? null
        : cron(policy.pattern, policy.timezone).nextRun(activatedAt);
    case 'useCount':
      // When it was used up is not known, only that it was after its activation.
      return useCount < policy.maxUses ? null : activatedAt;
  }
}

/**
 * Returns the time at which, or before, a key was activated that is due now; `null` for none. What a key
 * of a scope is due by, of which there are too many to ask each.
 */
export function dueSince(
  policy: Exclude<RotationPolicy, { readonly kind: 'useCount' }>,
  cryptoperiodDays: number | undefined,
  now: Date,
): Date | null {
  switch (policy.kind) {
    case 'manual':
      return null;
    case 'periodic':
      return shifted(now, -(policy.everyDays ?? DEFAULT_PERIOD_DAYS));
    case 'beforeExpiry':
      return shifted(now, (policy.days ?? DEFAULT_BEFORE_EXPIRY_DAYS) - (cryptoperiodDays ?? 0));
    case 'cron': {
      // A key that is activated at a match is due at the next one; times of keys are whole seconds.
      const [match] = cron(policy.pattern, policy.timezone).previousRuns(1, new Date(+now + 1000));
      return match === undefined ? null : new Date(match.getTime() - 1);
    }
  }
}

/** Describes what is wrong with a policy, for a message. */
export function rotationProblem(
  policy: RotationPolicy,
  cryptoperiodDays: number | undefined,
): string | undefined {
  switch (policy.kind) {
    case 'manual':
      return undefined;
    case 'periodic':
      return daysProblem('everyDays', policy.everyDays ?? DEFAULT_PERIOD_DAYS);
    case 'beforeExpiry':
      if (cryptoperiodDays === undefined) return 'rotation beforeExpiry needs cryptoperiodDays';
      if ((policy.days ?? DEFAULT_BEFORE_EXPIRY_DAYS) >= cryptoperiodDays) {
        return 'rotation beforeExpiry: days must be less than cryptoperiodDays';
      }
      return daysProblem('days', policy.days ?? DEFAULT_BEFORE_EXPIRY_DAYS);
    case 'cron':
      return cronProblem(policy.pattern, policy.timezone);
    case 'useCount':
      return Number.isInteger(policy.maxUses) && policy.maxUses > 0
        ? undefined
        : 'rotation.maxUses must be a whole number from 1';
    default:
      return 'rotation.kind must be manual, periodic, beforeExpiry, cron or useCount';
  }
}

function shifted(date: Date | null, days: number): Date | null {
  return date === null ? null : new Date(date.getTime() + days * DAY_MS);
}

function cron(pattern: string, timezone = 'UTC'): Cron {
  return new Cron(pattern, { timezone });
}

function daysProblem(name: string, days: unknown): string | undefined {
  if (typeof days === 'number' && days > 0 && days < Infinity) return undefined;
  return `rotation.${name} must be a positive number`;
}

function cronProblem(pattern: string, timezone: string | undefined): string | undefined {
  try {
    if (cron(pattern, timezone).nextRun() !== null) return undefined;
    return 'rotation.pattern never comes about';
  } catch {
    return 'rotation.pattern or rotation.timezone is not valid';
  }
}
