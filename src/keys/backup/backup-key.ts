import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { hkdfSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import {
  BackupUnwrapError,
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import { isAuthenticated } from '../../kms/kms-provider';
import type { KeyBinding, KmsProvider, WrappedKey } from '../../kms/kms-provider';

import { combineShares, splitIntoShares } from './key-shares';

/** The protection of a backup. */
export type BackupProtection =
  /** A KMS other than the one that wraps the keys, lest both be lost at once. */
  | { readonly kms: KmsProvider }
  /** Any `threshold` of `shares` custodians together. */
  | { readonly shares: number; readonly threshold: number };

/** The means to open a backup: the KMS it was made with, or enough of the shares. */
export type BackupOpener = { readonly kms: KmsProvider } | { readonly shares: readonly string[] };

/** The protection of a backup, as its file names it. */
export type StoredProtection =
  | {
      readonly kind: 'kms';
      readonly kms: string;
      readonly kek: string;
      /** base64url */
      readonly wrapped: string;
    }
  | { readonly kind: 'shares'; readonly count: number; readonly threshold: number };

/** The identity that a backup key is bound to. */
export interface BackupIdentity {
  /** Random, 16 hexadecimal digits. */
  readonly id: string;
  readonly application: string;
}

const CHECK_BYTES = 16;

/** Creates the random key of one backup. The caller wipes it. */
export function newBackupKey(): Buffer {
  return randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
}

/** Derives a value that shows whether a key is the right one, and reveals nothing else of it. */
export function checkValueOf(key: Uint8Array): Buffer {
  return Buffer.from(
    hkdfSha256({ key, info: lengthPrefixed([LABELS.keyCheckValue]), bytes: CHECK_BYTES }),
  );
}

/** Protects the key of a backup. Returns what to store in the file, and the shares to hand out, if any. */
export async function protectBackupKey(
  key: Buffer,
  identity: BackupIdentity,
  protection: BackupProtection,
): Promise<{ readonly stored: StoredProtection; readonly shares: readonly string[] }> {
  if ('kms' in protection) {
    const { kms } = protection;
    const { kek, wrapped } = await wrappedBy(kms, key, identity);
    requireProof(kms, { kek, wrapped });
    const stored = { kms: kms.name, kek, wrapped: Buffer.from(wrapped).toString('base64url') };
    return { stored: { kind: 'kms', ...stored }, shares: [] };
  }
  const { shares: count, threshold } = protection;
  const checkValue = checkValueOf(key);
  const shares = await splitIntoShares(key, { setId: identity.id, count, threshold, checkValue });
  return { stored: { kind: 'shares', count, threshold }, shares };
}

/** An error that is not of this library counts as an outage, as with the keys themselves. */
async function wrappedBy(
  kms: KmsProvider,
  key: Buffer,
  identity: BackupIdentity,
): Promise<WrappedKey> {
  try {
    return await kms.wrapKey(key, bindingOf(identity));
  } catch (cause) {
    if (cause instanceof FieldEncryptionError) throw cause;
    throw new KmsUnavailableError(
      `kms "${kms.name}" did not wrap the key of the backup; see the cause. There is no backup.`,
      { cause },
    );
  }
}

/** The key of a backup. */
export interface OpenedBackupKey {
  readonly key: Uint8Array;
  /** Whether the backup can only have been made with its KMS or shares. */
  readonly authenticated: boolean;
}

/**
 * Recovers the key of a backup, and proves that it is the right one. The caller wipes it.
 *
 * @throws {@link KeyUnwrapError} for another key, {@link ConfigurationError} for an opener of the
 * wrong kind and for shares that do not belong together, and what the KMS throws
 */
export async function openBackupKey(
  stored: StoredProtection,
  identity: BackupIdentity,
  checkValue: Uint8Array,
  opener: BackupOpener,
): Promise<OpenedBackupKey> {
  const opened = await openWith(stored, identity, opener);
  const { key } = opened;
  if (key.length === AEAD_KEY_BYTES && equalInConstantTime(checkValueOf(key), checkValue)) {
    return opened;
  }
  wipe(key);
  throw new BackupUnwrapError(
    `backup ${identity.id}: this is not its key. Open it with the KMS or the shares it was made with.`,
  );
}

async function openWith(
  stored: StoredProtection,
  identity: BackupIdentity,
  opener: BackupOpener,
): Promise<OpenedBackupKey> {
  if (stored.kind === 'kms' && 'kms' in opener) {
    const wrapped = { kek: stored.kek, wrapped: Buffer.from(stored.wrapped, 'base64url') };
    return {
      key: await unwrapped(opener.kms, wrapped, identity),
      authenticated: isAuthenticated(opener.kms, wrapped),
    };
  }
  if (stored.kind === 'shares' && 'shares' in opener) {
    return { key: await combineShares(opener.shares, identity.id), authenticated: true };
  }
  throw new ConfigurationError(
    stored.kind === 'kms'
      ? `backup ${identity.id} was made under kms "${stored.kms}": open it with that KMS.`
      : `backup ${identity.id} was split: open it with ${String(stored.threshold)} of its ` +
          `${String(stored.count)} shares.`,
  );
}

/** What a KMS says of a key that it does not unwrap is about rows of the key table. */
async function unwrapped(
  kms: KmsProvider,
  wrapped: WrappedKey,
  identity: BackupIdentity,
): Promise<Uint8Array> {
  try {
    return await kms.unwrapKey(wrapped, bindingOf(identity));
  } catch (cause) {
    if (!(cause instanceof KeyUnwrapError)) throw cause;
    throw new BackupUnwrapError(
      `backup ${identity.id} does not open: this is not the passphrase, key file or KMS that it was made ` +
        'with, or the file was changed.',
      { cause },
    );
  }
}

function requireProof(kms: KmsProvider, wrapped: WrappedKey): void {
  if (isAuthenticated(kms, wrapped)) return;
  throw new ConfigurationError(
    `kms "${kms.name}" wrapped the key of the backup without proof that it did: anybody with its public ` +
      'key could make such a file. Set the provider up to sign what it wraps, or use a symmetric KEK.',
  );
}

function bindingOf({ id, application }: BackupIdentity): KeyBinding {
  return { application, keyId: id, keyName: 'key-backup', purpose: 'data' };
}
