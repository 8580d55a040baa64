import type { KeyInfo } from '../record/key-info';
import type { KeyPurpose, KeyRecord } from '../record/key-record';

import { retentionProblem } from './retention-policy';
import type { RetentionPolicy } from './retention-policy';
import { nextRotationAt, rotationProblem } from './rotation-policy';
import type { RotationPolicy } from './rotation-policy';

/** The policy of a data key, by its name (`FieldEncryptionOptions.keyPolicies`). */
export interface KeyPolicy {
  /** Who answers for the key, at most 128 characters. Defaults to nobody. */
  readonly owner?: string | undefined;
  /** Classification of the data it protects, such as `confidential`, at most 32 characters. Defaults to none. */
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

/** The policies by key name; `'*'` applies to every name without one of its own. */
export type KeyPolicies = Readonly<Record<string, KeyPolicy>>;

const DAY_MS = 86_400_000;

/** Returns the policy of a name. */
export function policyOf(policies: KeyPolicies, name: string): KeyPolicy {
  if (Object.hasOwn(policies, name)) return policies[name] ?? {};
  return policies['*'] ?? {};
}

/** Returns when a version that is activated at this time expires. */
export function expiryOf({ cryptoperiodDays }: KeyPolicy, activatedAt: Date): Date | null {
  return cryptoperiodDays === undefined
    ? null
    : new Date(activatedAt.getTime() + cryptoperiodDays * DAY_MS);
}

/** Describes what is wrong with a policy's rotation or retention, for a message. */
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

/** Lists the keys of one purpose among `records`, by name and version. */
export function keyInfos(
  records: readonly KeyRecord[],
  policies: KeyPolicies = {},
  purpose: KeyPurpose = 'data',
): KeyInfo[] {
  return records
    .filter((record) => record.purpose === purpose)
    .map((record) => keyInfo(record, policies))
    .sort(byNameAndVersion);
}

/** Describes a key. */
export function keyInfo(record: KeyRecord, policies: KeyPolicies = {}): KeyInfo {
  return Object.freeze({
    id: record.id,
    name: record.name,
    purpose: record.purpose,
    version: record.version,
    state: record.state,
    suite: record.suite,
    kms: record.kms,
    kek: record.kek,
    createdAt: record.createdAt,
    activatedAt: record.activatedAt,
    deactivatedAt: record.deactivatedAt,
    compromisedAt: record.compromisedAt,
    destroyedAt: record.destroyedAt,
    expiresAt: record.expiresAt,
    nextRotationAt: nextRotationOf(record, policies),
    owner: record.owner,
    securityLevel: record.securityLevel,
    useCount: record.useCount,
  });
}

function nextRotationOf(record: KeyRecord, policies: KeyPolicies): Date | null {
  const { rotation } = policyOf(policies, record.name);
  return record.purpose === 'data' && record.state === 'active' && rotation !== undefined
    ? nextRotationAt(rotation, record)
    : null;
}

function byNameAndVersion(a: KeyInfo, b: KeyInfo): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.version - b.version;
}
