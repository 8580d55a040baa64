import { wipe } from '../../crypto/wipe';
import { ConfigurationError, KeyStateError } from '../../errors';
import { wholeSecond } from '../key-record';
import { hasValidRecordMac } from '../key-record-mac';
import type { KeyRecord } from '../key-record';
import type { KeyServices } from '../key-services';
import { provenChange, stateAuthenticator } from '../key-state-mac';
import type { Wrapping } from '../key-wrapper';
import type { BackedUpKey } from './backup-content';
import { decodeKeys } from './backup-content';
import { openBackup, parseBackup } from './backup-file';
import type { BackupFile } from './backup-file';
import type { BackupOpener } from './backup-key';
import { openBackupKey } from './backup-key';

/** A key of a backup, and where it stands now. */
export type RestoredKey = Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'state'>;

/** What a restore did (in a dry run: would do). */
export interface RestoreReport {
  readonly backupId: string;
  readonly createdAt: Date;
  /** Keys that were missing and are in the table now. */
  readonly restored: readonly RestoredKey[];
  /** Keys that were there already, the same ones. */
  readonly present: readonly RestoredKey[];
  /** Keys that were destroyed since: they stay so. */
  readonly destroyed: readonly RestoredKey[];
}

interface RestorePlan {
  readonly missing: readonly BackedUpKey[];
  readonly present: readonly RestoredKey[];
  readonly destroyed: readonly RestoredKey[];
}

/**
 * Puts the missing keys of a backup into the table, wrapped by this process's KMS. Everything is
 * verified before anything is written, and all of it is written in one transaction.
 *
 * @throws {@link KeyStateError} where the table has a different key of the same id or version;
 * {@link KeyUnwrapError} for a changed file or the wrong opener; {@link ConfigurationError}
 */
export async function restoreBackup<C>(
  services: KeyServices<C>,
  application: string,
  text: string,
  opener: BackupOpener,
  dryRun: boolean,
): Promise<RestoreReport> {
  const file = parseBackup(text);
  requireApplication(file, application);
  const content = await contentOf(file, opener);
  try {
    const existing = await services.store.list();
    const plan = planOf(decodeKeys(content), existing, application);
    const records = await wrapMissing(services, plan.missing, existing);
    if (!dryRun) await insertAll(services, records, file.id);
    return {
      backupId: file.id,
      createdAt: new Date(file.createdAt),
      restored: records.map(describe),
      present: plan.present,
      destroyed: plan.destroyed,
    };
  } finally {
    wipe(content);
  }
}

async function contentOf(file: BackupFile, opener: BackupOpener): Promise<Buffer> {
  const check = Buffer.from(file.check, 'base64url');
  const key = await openBackupKey(file.protection, file, check, opener);
  try {
    return openBackup(file, key);
  } finally {
    wipe(key);
  }
}

function planOf(
  keys: readonly BackedUpKey[],
  existing: readonly KeyRecord[],
  application: string,
): RestorePlan {
  const plan = {
    missing: [] as BackedUpKey[],
    present: [] as RestoredKey[],
    destroyed: [] as RestoredKey[],
  };
  for (const key of keys) {
    const same = existing.find(({ id }) => id === key.record.id);
    if (same === undefined) {
      requireVersionFree(key, existing);
      plan.missing.push(key);
    } else if (same.state === 'destroyed') plan.destroyed.push(describe(same));
    else {
      requireSameKey(key, same, application);
      plan.present.push(describe(same));
    }
  }
  return plan;
}

async function wrapMissing<C>(
  { store, wrapper }: KeyServices<C>,
  missing: readonly BackedUpKey[],
  existing: readonly KeyRecord[],
): Promise<KeyRecord[]> {
  const active = existing.filter(({ state }) => state === 'active');
  // Under a wrong KEK this process would restore keys that no other can read.
  if (active[0] !== undefined) await wrapper.unwrap(active[0]);

  const records: KeyRecord[] = [];
  for (const { record, bytes } of missing) {
    const replaced = active.find(
      ({ purpose, name }) => purpose === record.purpose && name === record.name,
    );
    const now = wholeSecond(await store.now());
    const restored = restoredRecord(record, bytes, replaced !== undefined, now);
    const wrapping = await wrapper.wrapWith(wrapper.providers.primary, restored, bytes);
    records.push({ ...restored, ...wrapping });
  }
  return records;
}

function restoredRecord(
  record: BackedUpKey['record'],
  bytes: Uint8Array,
  replaced: boolean,
  now: Date,
): Omit<KeyRecord, keyof Wrapping> {
  const state = stateNow(record, replaced);
  // A process that did not see the loss may write with it until its cache has aged.
  const deactivatedAt =
    state === 'deactivated' ? (record.deactivatedAt ?? now) : record.deactivatedAt;
  const change = provenChange(stateAuthenticator(bytes), record, { state, deactivatedAt });
  return { ...record, ...change, state };
}

/**
 * A key that another has replaced since reads on; and one that was announced when the backup was
 * made may have been used after.
 */
function stateNow({ state }: BackedUpKey['record'], replaced: boolean): KeyRecord['state'] {
  return state === 'preActive' || (state === 'active' && replaced) ? 'deactivated' : state;
}

async function insertAll<C>(
  { store }: KeyServices<C>,
  records: readonly KeyRecord[],
  restoredFrom: string,
): Promise<void> {
  const changes = records.map((record) => ({ type: 'insert', record, restoredFrom }) as const);
  if (await store.apply(changes)) return;
  throw new KeyStateError(
    'The key table was changed by another process meanwhile; nothing was restored. Try again.',
    { retryable: true },
  );
}

function requireApplication({ id, application }: BackupFile, expected: string): void {
  if (application === expected) return;
  throw new ConfigurationError(
    `backup ${id} is of application "${application}", this is "${expected}".`,
  );
}

function requireVersionFree({ record }: BackedUpKey, existing: readonly KeyRecord[]): void {
  const { id, name, purpose, version } = record;
  const other = existing.find(
    (key) => key.purpose === purpose && key.name === name && key.version === version,
  );
  if (other === undefined) return;
  throw new KeyStateError(
    `The table has another ${purpose} key "${name}" version ${String(version)} (${other.id}) than the ` +
      `backup (${id}). Nothing was restored. If the application made it after the table was lost, and ` +
      'no row needs it, delete its row and restore again.',
    { keyId: id },
  );
}

function requireSameKey(
  { record, bytes }: BackedUpKey,
  existing: KeyRecord,
  application: string,
): void {
  if (hasValidRecordMac(bytes, existing, application)) return;
  throw new KeyStateError(
    `The row of key ${record.id} is damaged, edited, or of a different key than that of the backup. ` +
      'Nothing was restored. Delete the row if it is damaged, and restore again.',
    { keyId: record.id },
  );
}

function describe({ id, name, purpose, version, state }: KeyRecord): RestoredKey {
  return { id, name, purpose, version, state };
}
