import { wipe } from '../../crypto/secret-bytes';
import { ConfigurationError, KeyStateError, UnauthenticatedKeyError } from '../../errors';
import type { KeyServices } from '../key-services';
import { hasValidRecordMac, provenChange, stateAuthenticator } from '../record/key-macs';
import { wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isVersionOf } from '../record/key-versions';
import type { KeyEpochs } from '../store/key-epochs';
import { proveKek } from '../wrapping/row-proofs';

import { decodeKeys, openBackup, parseBackup } from './backup-file';
import type { BackedUpKey, BackupFile } from './backup-file';
import { openBackupKey } from './backup-key';
import type { BackupOpener } from './backup-key';

/** A key of a backup in its present state. */
export type RestoredKey = Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'state'>;

/** Options of a restore. */
export interface RestoreOptions {
  /** Reports what would be restored and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
  /**
   * Takes the caller's word for a backup that could have been made without its KMS: one under an RSA
   * key of Azure from before backups were signed. Defaults to `false`.
   */
  adopt?: boolean;
}

/** The result of a restore (in a dry run: what it would be). */
export interface RestoreReport {
  readonly backupId: string;
  readonly createdAt: Date;
  /** Whether the backup can only have been made with its KMS or shares. */
  readonly authenticated: boolean;
  /** Keys that were missing and are in the table now. */
  readonly restored: readonly RestoredKey[];
  /** Keys that were there already. */
  readonly present: readonly RestoredKey[];
  /** Keys that were destroyed since, and stay so. */
  readonly destroyed: readonly RestoredKey[];
}

interface RestorePlan extends Pick<RestoreReport, 'present' | 'destroyed'> {
  readonly missing: readonly BackedUpKey[];
}

/** Creating keys would not help: they would stand in the way of those of the backup. */
function noTableToRestoreTo(): ConfigurationError {
  return new ConfigurationError(
    'There is no key table in this database to restore to. Run the migrations of fieldEncryptionMigrations; ' +
      '`field-encryption keys restore` without --dry-run creates the table, too.',
  );
}

/**
 * Puts the missing keys of a backup into the table, wrapped by this process's KMS. Everything is
 * verified before anything is written, and all of it is written in one transaction.
 *
 * @throws {@link KeyStateError} where the table has a different key of the same id or version;
 * {@link KeyUnwrapError} for a changed file or the wrong opener; {@link ConfigurationError};
 * {@link UnauthenticatedKeyError} for a file that could have been made without its KMS
 */
export async function restoreBackup<C>(
  services: KeyServices<C>,
  text: string,
  opener: BackupOpener,
  { dryRun = false, adopt = false }: RestoreOptions,
): Promise<RestoreReport> {
  if (!(await services.table.isReady())) throw noTableToRestoreTo();
  const file = parseBackup(text);
  requireApplication(file, services.application);
  const { content, authenticated } = await contentOf(file, opener);
  try {
    const existing = await services.store.list();
    const plan = planOf(services, decodeKeys(content), existing);
    if (!authenticated && !adopt && !dryRun) throw unauthenticated(file, plan.missing);
    const records = await wrapMissing(services, plan.missing, existing);
    if (!dryRun) await insertAll(services, records, file.id, !authenticated);
    return {
      backupId: file.id,
      createdAt: new Date(file.createdAt),
      authenticated,
      restored: records.map(describe),
      present: plan.present,
      destroyed: plan.destroyed,
    };
  } finally {
    wipe(content);
  }
}

async function contentOf(
  file: BackupFile,
  opener: BackupOpener,
): Promise<{ readonly content: Buffer; readonly authenticated: boolean }> {
  const check = Buffer.from(file.check, 'base64url');
  const { key, authenticated } = await openBackupKey(file.protection, file, check, opener);
  try {
    return { content: openBackup(file, key), authenticated };
  } finally {
    wipe(key);
  }
}

function planOf<C>(
  { application, wrapper }: KeyServices<C>,
  keys: readonly BackedUpKey[],
  existing: readonly KeyRecord[],
): RestorePlan {
  const [missing, present, destroyed]: [BackedUpKey[], RestoredKey[], RestoredKey[]] = [[], [], []];
  const conflicts: Conflict[] = [];
  for (const key of keys) {
    const same = existing.find(({ id }) => id === key.record.id);
    // Its tombstone may have been lost with the table.
    const wasDestroyed = wrapper.epochs.restrictionOf(key.record.id) === 'destroyed';
    if (same === undefined && wasDestroyed) {
      destroyed.push(describe({ ...key.record, state: 'destroyed' }));
    } else if (same === undefined) {
      conflicts.push(...sameVersion(key, existing));
      missing.push(key);
    } else if (same.state === 'destroyed') destroyed.push(describe(same));
    else {
      if (!hasValidRecordMac(key.bytes, same, application)) conflicts.push(damagedRow(same));
      present.push(describe(same));
    }
  }
  if (conflicts.length > 0) throw conflicting(conflicts);
  return { missing, present, destroyed };
}

async function wrapMissing<C>(
  { store, wrapper }: KeyServices<C>,
  missing: readonly BackedUpKey[],
  existing: readonly KeyRecord[],
): Promise<KeyRecord[]> {
  const active = existing.filter(({ state }) => state === 'active');
  await proveKek(wrapper, active);

  const records: KeyRecord[] = [];
  const epoch = wrapper.epochs.next(...existing);
  for (const { record, bytes } of missing) {
    const replaced = active.some(isVersionOf(record.purpose, record.name));
    const now = wholeSecond(await store.now());
    const changes = changesOf(record, replaced, wrapper.epochs, now);
    const wrapping = await wrapper.wrapWith(wrapper.providers.primary, record, bytes);
    const authenticate = stateAuthenticator(bytes);
    const proof = provenChange(authenticate, { ...record, ...wrapping }, changes, epoch);
    records.push({ ...record, ...wrapping, ...proof });
  }
  return records;
}

function changesOf(
  record: BackedUpKey['record'],
  replaced: boolean,
  epochs: KeyEpochs,
  now: Date,
): Pick<KeyRecord, 'state' | 'deactivatedAt' | 'compromisedAt'> {
  const state = epochs.restrictionOf(record.id) ?? stateNow(record, replaced);
  // A process that did not see the loss may write with it until its cached key is too old.
  const deactivatedAt =
    state === 'deactivated' ? (record.deactivatedAt ?? now) : record.deactivatedAt;
  const compromisedAt = state === 'compromised' ? (record.compromisedAt ?? now) : null;
  return { state, deactivatedAt, compromisedAt };
}

/**
 * The state in which a key comes back: deactivated where another has replaced it since, and where it was
 * announced when the backup was made, since it may have been used after that.
 */
function stateNow({ state }: BackedUpKey['record'], replaced: boolean): KeyRecord['state'] {
  return state === 'preActive' || (state === 'active' && replaced) ? 'deactivated' : state;
}

async function insertAll<C>(
  { store }: KeyServices<C>,
  records: readonly KeyRecord[],
  restoredFrom: string,
  adopted: boolean,
): Promise<void> {
  const how = { type: 'insert', restoredFrom, adopted } as const;
  if (await store.apply(records.map((record) => ({ ...how, record })))) return;
  throw new KeyStateError(
    'The key table was changed by another process meanwhile; nothing was restored. Try again.',
    { retryable: true },
  );
}

function unauthenticated(
  { id }: BackupFile,
  missing: readonly BackedUpKey[],
): UnauthenticatedKeyError {
  const ids = missing.map(({ record }) => record.id).join(', ');
  return new UnauthenticatedKeyError(
    `backup ${id} is not authenticated: who has the public key of its KMS could have made it. Nothing was ` +
      `restored of: ${ids === '' ? 'no key' : ids}. If these keys are yours, restore with adopt ` +
      '(field-encryption keys restore --adopt).',
    missing[0] === undefined ? {} : { keyId: missing[0].record.id },
  );
}

function requireApplication({ id, application }: BackupFile, expected: string): void {
  if (application === expected) return;
  throw new ConfigurationError(
    `backup ${id} is of application "${application}", this is "${expected}".`,
  );
}

/** A row of the table that stands in the way of a key of the backup. */
interface Conflict {
  readonly keyId: string;
  readonly row: string;
  readonly remedy: string;
}

function sameVersion({ record }: BackedUpKey, existing: readonly KeyRecord[]): Conflict[] {
  const { id, name, purpose, version } = record;
  return existing
    .filter((key) => key.version === version && isVersionOf(purpose, name)(key))
    .map((other) => ({
      keyId: id,
      row: `another ${purpose} key "${name}" version ${String(version)} (${other.id}) than the backup (${id})`,
      remedy:
        'If the application made other keys after the table was lost, and no row needs them, delete their rows.',
    }));
}

function damagedRow({ id }: KeyRecord): Conflict {
  return {
    keyId: id,
    row: `a row of key ${id} that is damaged, edited, or of a different key than that of the backup`,
    remedy: 'Delete rows that are damaged.',
  };
}

function conflicting(conflicts: readonly Conflict[]): KeyStateError {
  const rows = conflicts.map(({ row }) => row).join('; ');
  const remedies = [...new Set(conflicts.map(({ remedy }) => remedy))].join(' ');
  const [first] = conflicts;
  return new KeyStateError(
    `The table has ${rows}. Nothing was restored. ${remedies} Then restore again.`,
    first === undefined ? {} : { keyId: first.keyId },
  );
}

function describe({ id, name, purpose, version, state }: RestoredKey): RestoredKey {
  return { id, name, purpose, version, state };
}
