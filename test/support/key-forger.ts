import { constants, publicEncrypt, randomBytes } from 'node:crypto';

import type { KeyRecord } from '../../src/keys/record/key-record';
import { keyRecordMac, stateAuthenticator } from '../../src/keys/record/key-macs';
import type { KmsProvider, WrappedKey } from '../../src/kms/kms-provider';
import type { AzureDouble } from './azure-double';

/** Wraps with nothing but what anybody can have: the public key, and the id of its version. */
export function wrapWithPublicKey(double: AzureDouble, name: string, key: Uint8Array): WrappedKey {
  const publicKey = double.publicKey(name);
  const version = double.keys.get(name)?.versions.at(-1)?.id ?? '';
  if (publicKey === undefined) throw new Error(`${name} has no public key`);
  const body = publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    key,
  );
  // The form that this library stored before it signed.
  const header = Buffer.concat([Buffer.of(0x01, 0x01), Buffer.from(version, 'hex')]);
  return {
    kek: `azure-kms:${double.keyId(name)}/${version}`,
    wrapped: Buffer.concat([header, body]),
  };
}

/** `azureKms` as it was before it signed what it wraps. */
export function azureBeforeSignatures(
  double: AzureDouble,
  name: string,
  kms: KmsProvider,
): KmsProvider {
  return {
    name: 'azure',
    wrapKey: (key) => Promise.resolve(wrapWithPublicKey(double, name, key)),
    unwrapKey: (...call) => kms.unwrapKey(...call),
    health: () => kms.health(),
  };
}

/** A row that somebody makes up around bytes that he knows, with the MACs that go with them. */
export function forgedRecord(
  bytes: Uint8Array,
  { kek, wrapped }: WrappedKey,
  changes: Partial<KeyRecord> = {},
): KeyRecord {
  const createdAt = new Date(Math.floor(Date.now() / 1000) * 1000);
  const record = {
    ...{ id: randomBytes(8).toString('hex'), name: 'default', purpose: 'data', version: 2 },
    ...{ suite: 'xaes-256-gcm', state: 'active', kms: 'azure', kek, wrapped: Buffer.from(wrapped) },
    ...{ createdAt, activatedAt: createdAt, deactivatedAt: null, compromisedAt: null },
    ...{ destroyedAt: null, expiresAt: null, owner: null, securityLevel: null, useCount: 0 },
    ...{ application: 'default', epoch: 0 },
    ...changes,
  } as Omit<KeyRecord, 'recordMac' | 'stateMac'>;
  const recordMac = keyRecordMac(bytes, record, 'default');
  return { ...record, recordMac, stateMac: stateAuthenticator(bytes)({ ...record, recordMac }) };
}
