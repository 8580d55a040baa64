import { AeadError, createAead } from '../../crypto/aead';
import type { Aead } from '../../crypto/aead';
import { hkdfSha256 } from '../../crypto/hkdf';
import { LABELS } from '../../crypto/labels';
import { openBytes, sealBytes } from '../../crypto/seal-bytes';
import { wipe } from '../../crypto/wipe';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { ConfigurationError, KeyUnwrapError } from '../../errors';
import type { StoredProtection } from './backup-key';

/** Names the layout of the file; another layout gets another name. */
const FORMAT = 'typeorm-field-encryption/key-backup/1';

/** Everything of a backup file that is not encrypted. All of it is authenticated with the content. */
export interface BackupHeader {
  readonly id: string;
  readonly application: string;
  /** ISO 8601, UTC */
  readonly createdAt: string;
  readonly keys: number;
  /** base64url; tells whether a key is that of the backup. */
  readonly check: string;
  readonly protection: StoredProtection;
}

/** A backup file: JSON, its content base64url of `nonce ‖ ciphertext ‖ tag`. */
export interface BackupFile extends BackupHeader {
  readonly content: Buffer;
}

/** Encrypts the content and writes the file. */
export function sealBackup(header: BackupHeader, key: Uint8Array, content: Uint8Array): string {
  const sealed = sealBytes(contentAead(key), content, associatedData(header));
  const file = { format: FORMAT, ...canonical(header), content: sealed.toString('base64url') };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** @throws {@link ConfigurationError} for what is not such a file */
export function parseBackup(text: string): BackupFile {
  const file = parsed(text);
  const { format, content, ...header } = file;
  if (format !== FORMAT || typeof content !== 'string' || !isHeader(header)) throw notABackup();
  return { ...canonical(header), content: Buffer.from(content, 'base64url') };
}

/**
 * Decrypts the content. The caller wipes it.
 *
 * @throws {@link KeyUnwrapError} when the file was changed
 */
export function openBackup(file: BackupFile, key: Uint8Array): Buffer {
  const { content, ...header } = file;
  try {
    return openBytes(contentAead(key), content, associatedData(header));
  } catch (error) {
    if (!(error instanceof AeadError)) throw error;
    throw new KeyUnwrapError(
      `backup ${file.id}: the file was changed or damaged. Use another copy.`,
      {
        cause: error,
      },
    );
  }
}

function contentAead(key: Uint8Array): Aead {
  const contentKey = hkdfSha256({ key, info: lengthPrefixed([LABELS.keyBackup]), bytes: 32 });
  try {
    return createAead('xaes-256-gcm', contentKey);
  } finally {
    wipe(contentKey);
  }
}

function associatedData(header: BackupHeader): Uint8Array {
  return lengthPrefixed([LABELS.keyBackup, FORMAT, JSON.stringify(canonical(header))]);
}

/** The same members in the same order, however the file was laid out. */
function canonical({
  id,
  application,
  createdAt,
  keys,
  check,
  protection,
}: BackupHeader): BackupHeader {
  return { id, application, createdAt, keys, check, protection: canonicalProtection(protection) };
}

function canonicalProtection(protection: StoredProtection): StoredProtection {
  if (protection.kind === 'kms') {
    const { kind, kms, kek, wrapped } = protection;
    return { kind, kms, kek, wrapped };
  }
  const { kind, count, threshold } = protection;
  return { kind, count, threshold };
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    throw notABackup();
  }
  throw notABackup();
}

function isHeader(value: object): value is BackupHeader {
  const { id, application, createdAt, keys, check, protection } = value as Partial<BackupHeader>;
  const texts: unknown[] = [id, application, createdAt, check];
  return (
    texts.every((member) => typeof member === 'string') &&
    typeof keys === 'number' &&
    typeof protection === 'object' &&
    (protection as unknown) !== null &&
    ['kms', 'shares'].includes(protection.kind)
  );
}

function notABackup(): ConfigurationError {
  return new ConfigurationError('This is no backup of keys that this version can read.');
}
