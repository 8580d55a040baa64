import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { AuditSeal } from '../../audit/audit-log';
import { createAead, isCipherSuite } from '../../crypto/aead';
import type { NonceMode } from '../../crypto/aead';
import { ed25519Key } from '../../crypto/ed25519';
import type { Ed25519Key } from '../../crypto/ed25519';
import { isApproved } from '../../crypto/fips';
import type { Profile } from '../../crypto/fips';
import { deriveHmacKey } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { defaultNonces, nativeDataKey } from '../../crypto/native';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import {
  ConfigurationError,
  UnauthenticatedKeyError,
  UnsupportedCipherSuiteError,
} from '../../errors';
import { keyHeader, keyPrefix } from '../../format/data-key-id';
import type { DataKey, IndexRoot } from '../key-source';
import { stateAuthenticator } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import { aboutUnreadable, keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import type { UseCounter } from '../store/key-uses';

import type { OpenedKey } from './kms-providers';

/** A key in the form its purpose asks for, its bytes out of reach. */
export type UnwrappedKey = (
  | { readonly purpose: 'data'; readonly key: DataKey }
  | { readonly purpose: 'index'; readonly key: IndexRoot }
  | { readonly purpose: 'audit'; readonly key: AuditSeal }
  | { readonly purpose: 'signing'; readonly key: Ed25519Key }
) & {
  /** Proves changes of its state. */
  readonly authenticateState: StateAuthenticator;
  /** Whether it can only have been made with the KMS. */
  readonly isAuthenticated: boolean;
};

/**
 * Refuses a record whose suite this version cannot use, before the KMS is asked.
 *
 * @throws {@link UnsupportedCipherSuiteError}
 */
export function requireKnownSuite(
  record: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'unreadable'>,
): void {
  if (isSuiteOf(record)) return;
  throw new UnsupportedCipherSuiteError(
    `${keyTitle(record)} is for "${record.suite}", which this version does not know.${aboutUnreadable(record)} ` +
      'Upgrade this process to the version that created the key.',
    { keyId: record.id },
  );
}

function isSuiteOf({ purpose, suite }: Pick<KeyRecord, 'purpose' | 'suite'>): boolean {
  if (purpose === 'data') return isCipherSuite(suite);
  return suite === (purpose === 'signing' ? 'ed25519' : 'hmac-sha-256');
}

/**
 * Refuses a key that could have been made without the KMS: nothing may be protected with it.
 *
 * @throws {@link UnauthenticatedKeyError}
 */
export function requireAuthenticated(record: KeyRecord, isAuthenticated: boolean): void {
  if (isAuthenticated) return;
  const { id, kms } = record;
  throw new UnauthenticatedKeyError(
    `${keyTitle(record)} is not authenticated: who can write to ` +
      `the key table and has the public key of kms "${kms}" could have made it. If it is yours, run: ` +
      `field-encryption keys adopt ${id}`,
    { keyId: id },
  );
}

/**
 * Refuses to protect anything with a key whose suite a profile does not allow.
 *
 * @throws {@link ConfigurationError}
 */
export function requireApproved(profile: Profile | undefined, key: DataKey): void {
  if (profile === undefined || isApproved(key.suite)) return;
  throw new ConfigurationError(
    `key "${key.name}" version ${String(key.version)} is for ${key.suite}, and profile '${profile}' lets it only ` +
      `decrypt. Run: field-encryption keys rotate ${key.scope === undefined ? key.name : '--all-scopes'}`,
    { keyId: key.id },
  );
}

/** How a data key is used in this process. */
export interface DataKeyUse {
  readonly uses: UseCounter;
  /** Defaults to {@link defaultNonces}. */
  readonly nonces: NonceMode | undefined;
}

/** Imports 32 key bytes for the use of their purpose. Copies them; the caller wipes them. */
export function importKey(
  record: KeyRecord,
  { bytes, isAuthenticated }: OpenedKey,
  use: DataKeyUse,
): UnwrappedKey {
  const common = { authenticateState: stateAuthenticator(bytes), isAuthenticated };
  if (record.suite === 'ed25519') return { purpose: 'signing', key: ed25519Key(bytes), ...common };
  if (record.suite !== 'hmac-sha-256') {
    const key = dataKey({ ...record, suite: record.suite, isAuthenticated }, bytes, use);
    return { purpose: 'data', key, ...common };
  }
  if (record.purpose !== 'audit') {
    return { purpose: 'index', key: indexRoot(record.id, createSecretKey(bytes)), ...common };
  }
  const sealKey = deriveHmacKey(bytes, lengthPrefixed([LABELS.auditKey]));
  return { purpose: 'audit', key: new AuditSeal(record.id, sealKey), ...common };
}

type DataKeyIdentity = Pick<
  DataKey,
  'id' | 'name' | 'version' | 'suite' | 'isAuthenticated' | 'scope'
>;

/** Imports the bytes of a data key. Copies them; the caller wipes them. */
export function dataKey(
  { id, name, version, suite, isAuthenticated, scope }: DataKeyIdentity,
  bytes: Uint8Array,
  { uses, nonces = defaultNonces(suite) }: DataKeyUse,
): DataKey {
  const header = keyHeader(id);
  return Object.freeze({
    id,
    name,
    version,
    suite,
    isAuthenticated,
    prefix: keyPrefix(id),
    header,
    aead: createAead(suite, bytes, nonces),
    native: nativeDataKey(suite, bytes, header, nonces),
    uses,
    scope,
  });
}

/** Returns an index root that derives from a secret key. */
export function indexRoot(id: string, root: KeyObject): IndexRoot {
  return Object.freeze({ id, deriveIndexKey: (info: Uint8Array) => deriveHmacKey(root, info) });
}
