import { AeadError, createAead } from '../../crypto/aead';
import type { Aead } from '../../crypto/aead';
import { openBytes, sealBytes } from '../../crypto/gcm';
import { hkdfSha256 } from '../../crypto/hmac';
import { LABELS } from '../../crypto/labels';
import { wipe } from '../../crypto/secret-bytes';
import { lengthPrefixed, readLengthPrefixed } from '../../encoding/length-prefixed';
import { BackupUnwrapError, ConfigurationError } from '../../errors';
import type { KeyRecord } from '../record/key-record';
import type { Wrapping } from '../wrapping/key-wrapper';

import type { StoredProtection } from './backup-key';

/** A key in a backup: its bytes, and its record without the fields that depend on its wrapping. */
export interface BackedUpKey {
  readonly record: Omit<KeyRecord, keyof Wrapping | 'stateMac' | 'epoch'>;
  readonly bytes: Uint8Array;
}

type DateMember = Extract<keyof KeyRecord, `${string}At`>;

const DATES: readonly DateMember[] = [
  'createdAt',
  'activatedAt',
  'deactivatedAt',
  'compromisedAt',
  'destroyedAt',
  'expiresAt',
];

/** Returns the part of a record that a backup keeps, without the wrapping by a KEK. */
export function withoutWrapping(record: KeyRecord): BackedUpKey['record'] {
  const { id, name, purpose, version, suite, state, owner, securityLevel, useCount } = record;
  const { createdAt, activatedAt, deactivatedAt, compromisedAt, destroyedAt, expiresAt } = record;
  const dates = { createdAt, activatedAt, deactivatedAt, compromisedAt, destroyedAt, expiresAt };
  return { id, name, purpose, version, suite, state, owner, securityLevel, useCount, ...dates };
}

/** Encodes keys as a length-prefixed list of (JSON of the record, key). The caller wipes the bytes. */
export function encodeKeys(keys: readonly BackedUpKey[]): Uint8Array {
  const entries = keys.map(({ record, bytes }) => lengthPrefixed([JSON.stringify(record), bytes]));
  try {
    return lengthPrefixed(entries);
  } finally {
    for (const entry of entries) wipe(entry);
  }
}

/** Decodes a decrypted backup to keys that are views of `content`: wiping that wipes them. */
export function decodeKeys(content: Uint8Array): BackedUpKey[] {
  const keys = readLengthPrefixed(content)?.map((entry) => {
    const [record, bytes] = readLengthPrefixed(entry) ?? [];
    if (record === undefined || bytes === undefined) throw unreadable();
    return { record: recordOf(Buffer.from(record).toString('utf8')), bytes };
  });
  if (keys === undefined) throw unreadable();
  return keys;
}

function recordOf(json: string): BackedUpKey['record'] {
  const record = JSON.parse(json) as Record<string, unknown>;
  for (const name of DATES) {
    const text = record[name];
    record[name] = typeof text === 'string' ? new Date(text) : null;
  }
  // It was authenticated, so encodeKeys() wrote it.
  return record as unknown as BackedUpKey['record'];
}

/** For an authenticated backup, which another version must have written. */
function unreadable(): BackupUnwrapError {
  return new BackupUnwrapError('The backup opens, but this version cannot read what is in it.');
}

/** Names the layout of the file. Another layout takes another name. */
const FORMAT = 'typeorm-field-encryption/key-backup/1';

/** The unencrypted part of a backup file. All of it is authenticated with the content. */
export interface BackupHeader {
  readonly id: string;
  readonly application: string;
  /** ISO 8601, UTC */
  readonly createdAt: string;
  readonly keys: number;
  /** base64url; shows whether a key is that of the backup. */
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

/** @throws {@link ConfigurationError} for a text that is not a backup file */
export function parseBackup(text: string): BackupFile {
  const file = parsed(text);
  const { format, content, ...header } = file;
  if (format !== FORMAT || typeof content !== 'string' || !isHeader(header)) throw notABackup();
  return { ...canonical(header), content: Buffer.from(content, 'base64url') };
}

/**
 * Decrypts the content. The caller wipes it.
 *
 * @throws {@link KeyUnwrapError} if the file was changed
 */
export function openBackup(file: BackupFile, key: Uint8Array): Buffer {
  const { content, ...header } = file;
  try {
    return openBytes(contentAead(key), content, associatedData(header));
  } catch (error) {
    if (!(error instanceof AeadError)) throw error;
    throw new BackupUnwrapError(
      `backup ${file.id}: the file was changed or damaged. Use another copy.`,
      { cause: error },
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

/** Returns the members in one order, however the file was laid out. */
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
