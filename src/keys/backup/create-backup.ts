import { settleAll } from '../../async/settle-all';
import { wipe } from '../../crypto/secret-bytes';
import { newDataKeyId } from '../../format/data-key-id';
import type { KeyServices } from '../key-services';
import type { KeyRecord } from '../record/key-record';
import { isOwnBranchName } from '../record/scope';
import { CONCURRENT_PROOFS } from '../wrapping/kms-client';

import { encodeKeys, sealBackup, withoutWrapping } from './backup-file';
import type { BackedUpKey } from './backup-file';
import { checkValueOf, newBackupKey, protectBackupKey } from './backup-key';
import type { BackupProtection } from './backup-key';

/** A backup of all keys. */
export interface KeyBackup {
  /** 16 hexadecimal digits; its shares contain it, too. */
  readonly id: string;
  /** The file, encrypted and authenticated. Keep it apart from the KMS or the shares that open it. */
  readonly file: string;
  /** Data keys and index root in it; destroyed keys are not. */
  readonly keys: number;
  /**
   * Branch keys of scopes with a KMS of their own, which are not in it: no other KMS, nor shares, may ever open
   * them. A backup of the database holds them, wrapped.
   */
  readonly leftOut: readonly Pick<KeyRecord, 'id' | 'name' | 'version'>[];
  /** One text for each custodian; empty under a KMS. Anyone with enough of them has the keys. */
  readonly shares: readonly string[];
}

/**
 * Backs up every key that is not destroyed, but for the branches of scopes with a KMS of their own.
 *
 * @throws {@link KeyUnwrapError} when one of them does not unwrap: a backup is complete or it is none
 */
export async function createBackup<C>(
  services: KeyServices<C>,
  protection: BackupProtection,
): Promise<KeyBackup> {
  const { application, store, wallClock } = services;
  const existing = (await store.list()).filter(({ state }) => state !== 'destroyed');
  const records = existing.filter(({ name }) => !isOwnBranchName(name));
  const leftOut = existing
    .filter(({ name }) => isOwnBranchName(name))
    .map(({ id, name, version }) => ({ id, name, version }));
  const backupId = newDataKeyId();
  const content = await contentOf(services, records);
  const key = newBackupKey();
  try {
    const { stored, shares } = await protectBackupKey(
      key,
      { id: backupId, application },
      protection,
    );
    const header = {
      id: backupId,
      application,
      createdAt: wallClock().toISOString(),
      keys: records.length,
      check: checkValueOf(key).toString('base64url'),
      protection: stored,
    };
    const file = sealBackup(header, key, content);
    return { id: backupId, file, keys: records.length, leftOut, shares };
  } finally {
    wipe(key);
    wipe(content);
  }
}

async function contentOf<C>(
  { wrapper }: KeyServices<C>,
  records: readonly KeyRecord[],
): Promise<Uint8Array> {
  const keys: BackedUpKey[] = [];
  try {
    await settleAll(records, CONCURRENT_PROOFS, async (record) => {
      const bytes = await wrapper.withKeyBytes(record, (lent) =>
        Promise.resolve(Uint8Array.from(lent)),
      );
      keys.push({ record: withoutWrapping(record), bytes });
    });
    return encodeKeys(keys);
  } finally {
    for (const { bytes } of keys) wipe(bytes);
  }
}
