import type { KeyInfo } from '../record/key-info';

const DAY_MS = 86_400_000;

/**
 * When `maintain()` destroys a key that is out of use. Whatever the policy, a key that a row needs stays,
 * and so does one within its grace period.
 */
export type RetentionPolicy =
  /** Never. The default. */
  | { readonly kind: 'forever' }
  /** That long after it was deactivated. */
  | { readonly kind: 'minimumAge'; readonly days: number }
  /** When this many newer versions, the active one included, have come after it. */
  | { readonly kind: 'lastVersions'; readonly count: number }
  /** As soon as no row needs it. */
  | { readonly kind: 'untilReencrypted' }
  /** When `keep`, which receives the key and all versions of its name, returns false. */
  | {
      readonly kind: 'custom';
      readonly keep: (key: KeyInfo, versions: readonly KeyInfo[]) => boolean;
    };

/** Whether a policy keeps a key that is deactivated or compromised. */
export function isRetained(
  policy: RetentionPolicy,
  key: KeyInfo,
  versions: readonly KeyInfo[],
  now: Date,
): boolean {
  switch (policy.kind) {
    case 'forever':
      return true;
    case 'minimumAge':
      return now.getTime() - outOfUseSince(key, now).getTime() < policy.days * DAY_MS;
    case 'lastVersions':
      // By version, never by date: clocks differ between the processes that wrote the dates.
      return newerInUse(key, versions) < policy.count;
    case 'untilReencrypted':
      return false;
    case 'custom':
      return policy.keep(key, versions);
  }
}

/** Whether a policy depends on the other versions of a key. */
export function goesByVersions({ kind }: RetentionPolicy): boolean {
  return kind === 'lastVersions' || kind === 'custom';
}

/** Describes what is wrong with a policy, for a message. */
export function retentionProblem(policy: RetentionPolicy): string | undefined {
  switch (policy.kind) {
    case 'forever':
    case 'untilReencrypted':
      return undefined;
    case 'minimumAge':
      return isPositive(policy.days) ? undefined : 'retention.days must be a positive number';
    case 'lastVersions':
      return isPositive(policy.count) && Number.isInteger(policy.count)
        ? undefined
        : 'retention.count must be a whole number from 1';
    case 'custom':
      return typeof policy.keep === 'function' ? undefined : 'retention.keep must be a function';
    default:
      return 'retention.kind must be forever, minimumAge, lastVersions, untilReencrypted or custom';
  }
}

/** A key that was revoked before it was activated has no other date. */
function outOfUseSince({ deactivatedAt, compromisedAt }: KeyInfo, now: Date): Date {
  return deactivatedAt ?? compromisedAt ?? now;
}

function newerInUse(key: KeyInfo, versions: readonly KeyInfo[]): number {
  return versions.filter(
    ({ version, state }) => version > key.version && state !== 'preActive' && state !== 'destroyed',
  ).length;
}

function isPositive(value: unknown): boolean {
  return typeof value === 'number' && value > 0 && value < Infinity;
}
