import type { KeyInfo } from './key-info';
import type { KeyPolicies } from './key-policy';
import { policyOf } from './key-policy';
import type { KeyPurpose, KeyRecord } from './key-record';
import { nextRotationAt } from './rotation-policy';

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
