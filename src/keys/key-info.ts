import type { CipherSuite } from '../crypto/aead';
import type { KeyRecord } from './key-record';
import type { KeyState } from './key-state';

/** What may be told of a data key: everything an operator asks for and nothing of the key itself. */
export interface KeyInfo {
  /** 16 hexadecimal digits, the same that the ciphertexts carry. */
  readonly id: string;
  readonly name: string;
  /** Counts from 1 within the name. */
  readonly version: number;
  readonly state: KeyState;
  readonly suite: CipherSuite;
  /** Name of the provider that wrapped the key. */
  readonly kms: string;
  /** The key-encryption key, in the provider's own terms. */
  readonly kek: string;
  readonly createdAt: Date;
  readonly activatedAt: Date | null;
  /** When it stopped protecting new data. */
  readonly deactivatedAt: Date | null;
  readonly compromisedAt: Date | null;
  readonly destroyedAt: Date | null;
  /** When it should no longer protect new data; `null` without a cryptoperiod. */
  readonly expiresAt: Date | null;
  readonly owner: string | null;
  readonly securityLevel: string | null;
}

/** Lists the data keys among `records`, by name and version. */
export function keyInfos(records: readonly KeyRecord[]): KeyInfo[] {
  return records.flatMap((record) => keyInfo(record) ?? []).sort(byNameAndVersion);
}

/** Describes a data key; undefined for a key of another purpose. */
export function keyInfo(record: KeyRecord): KeyInfo | undefined {
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
    owner: record.owner,
    securityLevel: record.securityLevel,
  });
}

/** {@link keyInfo} of a record that is known to be a data key's. */
export function dataKeyInfo(record: KeyRecord): KeyInfo {
  const info = keyInfo(record);
  if (info === undefined) throw new TypeError(`key "${record.name}" is not a data key`);
  return info;
}

function byNameAndVersion(a: KeyInfo, b: KeyInfo): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.version - b.version;
}
