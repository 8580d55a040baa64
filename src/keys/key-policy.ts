import type { RetentionPolicy } from './retention-policy';
import { retentionProblem } from './retention-policy';
import type { RotationPolicy } from './rotation-policy';
import { rotationProblem } from './rotation-policy';

/** What is known and wanted of a data key, by its name (`FieldEncryptionOptions.keyPolicies`). */
export interface KeyPolicy {
  /** Who answers for the key, at most 128 characters. Defaults to nobody. */
  readonly owner?: string | undefined;
  /** Classification of what it protects, such as `confidential`, at most 32 characters. Defaults to none. */
  readonly securityLevel?: string | undefined;
  /**
   * Days from its activation for which a version may protect new data (the originator-usage period
   * of SP 800-57). Defaults to no end.
   */
  readonly cryptoperiodDays?: number | undefined;
  /** When `maintain()` rotates the key. Defaults to `{ kind: 'manual' }`. */
  readonly rotation?: RotationPolicy | undefined;
  /** When `maintain()` destroys versions out of use. Defaults to `{ kind: 'forever' }`. */
  readonly retention?: RetentionPolicy | undefined;
}

/** The policies by key name; `'*'` stands for every name without one of its own. */
export type KeyPolicies = Readonly<Record<string, KeyPolicy>>;

const DAY_MS = 86_400_000;

/** The policy of a name. */
export function policyOf(policies: KeyPolicies, name: string): KeyPolicy {
  if (Object.hasOwn(policies, name)) return policies[name] ?? {};
  return policies['*'] ?? {};
}

/** When a version that is activated at this time expires. */
export function expiryOf({ cryptoperiodDays }: KeyPolicy, activatedAt: Date): Date | null {
  return cryptoperiodDays === undefined
    ? null
    : new Date(activatedAt.getTime() + cryptoperiodDays * DAY_MS);
}

/** What is wrong with a policy's rotation or retention, in words fit for a message. */
export function scheduleProblem({
  cryptoperiodDays,
  rotation,
  retention,
}: KeyPolicy): string | undefined {
  return (
    (rotation && rotationProblem(rotation, cryptoperiodDays)) ??
    (retention && retentionProblem(retention))
  );
}
