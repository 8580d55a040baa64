import type { KeyInfo } from './key-info';
import type { KeyPolicies } from './key-policy';
import { policyOf } from './key-policy';
import type { KeyRecord } from './key-record';
import { nextRotationAt } from './rotation-policy';

/** Lists the data keys among `records`, by name and version. */
export function keyInfos(records: readonly KeyRecord[], policies: KeyPolicies = {}): KeyInfo[] {
  return records.flatMap((record) => keyInfo(record, policies) ?? []).sort(byNameAndVersion);
}

/** Describes a data key; undefined for a key of another purpose. */
export function keyInfo(record: KeyRecord, policies: KeyPolicies = {}): KeyInfo | undefined {
  if (record.suite === 'hmac-sha-256') return undefined;
  return Object.freeze({
    id: record.id,
    name: record.name,
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

/** {@link keyInfo} of a record that is known to be a data key's. */
export function dataKeyInfo(record: KeyRecord, policies: KeyPolicies = {}): KeyInfo {
  const info = keyInfo(record, policies);
  if (info === undefined) throw new TypeError(`key "${record.name}" is not a data key`);
  return info;
}

function nextRotationOf(record: KeyRecord, policies: KeyPolicies): Date | null {
  const { rotation } = policyOf(policies, record.name);
  return record.state === 'active' && rotation !== undefined
    ? nextRotationAt(rotation, record)
    : null;
}

function byNameAndVersion(a: KeyInfo, b: KeyInfo): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.version - b.version;
}
