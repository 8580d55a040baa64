import { createHash } from 'node:crypto';

import { ConfigurationError } from './errors';
import { backupSubject, maintain, requireUpkeepOptions } from './key-upkeep';
import type { UpkeepOptions, UpkeepReport } from './key-upkeep';
import type { AcceptEpochOptions, AcceptEpochReport } from './keys/audit/accept-epoch';
import type { BackupOpener, BackupProtection } from './keys/backup/backup-key';
import type { KeyBackup } from './keys/backup/create-backup';
import type { RestoreOptions, RestoreReport } from './keys/backup/restore-backup';
import type { ColumnUse } from './keys/lifecycle/encrypted-rows';
import type { IndexRotation, IndexRotationOptions } from './keys/lifecycle/index-rotation';
import type { AdoptionReport } from './keys/lifecycle/key-adoption';
import type { DestroyedKey, DestroyOptions } from './keys/lifecycle/key-destruction';
import type { RevocationReport, RevokeOptions } from './keys/lifecycle/key-revocation';
import type { RewrapOptions, RewrapReport } from './keys/lifecycle/key-rewrap';
import { MaintenanceSchedule } from './keys/lifecycle/maintenance-schedule';
import type { ScheduleOptions } from './keys/lifecycle/maintenance-schedule';
import { keyStatistics } from './keys/policy/key-statistics';
import type { KeyStatistics } from './keys/policy/key-statistics';
import { requireWait } from './keys/policy/wait-option';
import type { KeyInfo } from './keys/record/key-info';
import { drill } from './reencryption/coverage/drill';
import type { DrillReport } from './reencryption/coverage/drill';
import { encryptedRows, keyUses } from './reencryption/coverage/key-uses';
import { SigningKeyOperations } from './signing-keys';
import { defined } from './typeorm/declare/option-rules';
import { withOwnTables } from './typeorm/connection/table-access';
import type { Installation } from './typeorm/installation/installation';

/** The data keys of a DataSource. */
export class DataKeys extends SigningKeyOperations {
  get #operations(): Installation['keys']['operations'] {
    return this.installation.keys.operations;
  }

  /** Lists every data key, by name and version. Never key bytes. */
  list(): Promise<KeyInfo[]> {
    return this.installation.keys.list();
  }

  /** Counts the data keys: how many are active, past their cryptoperiod, in each state, of each age. */
  async statistics(): Promise<KeyStatistics> {
    const { options, store } = this.installation;
    return keyStatistics(await this.list(), options.now?.() ?? (await store.now()));
  }

  /**
   * Makes a new version of a key, `'default'` by default, the active one and returns it. Rows stay under
   * the version they have until {@link FieldEncryption.reencrypt}.
   */
  rotate(name = 'default'): Promise<KeyInfo> {
    return this.run('rotate', { parameters: { name } }, () => this.installation.keys.rotate(name));
  }

  /** Lists every root of the blind indexes. */
  indexRoots(): Promise<KeyInfo[]> {
    return this.#operations.listIndexRoots();
  }

  /**
   * Takes the next step of rotating the index key: the first call announces a new root, and a later one,
   * when every process has had time to load it, makes new tokens with it. Lookups find the tokens of both
   * until you reindex all rows and destroy the old root.
   *
   * @throws {@link KeyStateError} while the root of an earlier rotation is not destroyed
   */
  rotateIndex(options: IndexRotationOptions = {}): Promise<IndexRotation> {
    const own = { ...options, index: true };
    return this.run('rotate', { parameters: own }, () => this.#operations.rotateIndex(own));
  }

  /**
   * Takes a compromised key out of use at once: if it is active, a new version replaces it. Its rows can
   * still be read, so that {@link FieldEncryption.reencrypt} can move them.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or the index root
   */
  async revoke(id: string, options: RevokeOptions = {}): Promise<RevocationReport> {
    const subject = { key: id, parameters: {} };
    const revoked = await this.run('revoke', subject, () => this.#operations.revoke(id, options));
    return { ...revoked, plan: await this.#planFor(id) };
  }

  /** The key is revoked by now, whether or not this role may see what is left to do. */
  async #planFor(id: string): Promise<readonly ColumnUse[] | null> {
    try {
      return (await this.uses(id)).filter(({ rowsUnderKey }) => rowsUnderKey > 0);
    } catch (error) {
      if (error instanceof ConfigurationError) return null;
      throw error;
    }
  }

  /**
   * Stops all encryption under the name of an active key, for instance during the investigation of an
   * incident: writes of its columns fail with a {@link KeyStateError}, reads go on. Other processes stop
   * at their next refresh: within `ttlMs` if they are busy, never after `maxAgeMs`.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not active
   */
  suspend(id: string): Promise<KeyInfo> {
    return this.run('suspend', { key: id, parameters: {} }, () => this.#operations.suspend(id));
  }

  /**
   * Ends the suspension of a key. It is active again, or deactivated if it was rotated meanwhile.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not suspended
   */
  resume(id: string): Promise<KeyInfo> {
    return this.run('resume', { key: id, parameters: {} }, () => this.#operations.resume(id));
  }

  /**
   * Erases a key for good and leaves its row as a tombstone. Waits for transactions that may have written
   * with the key, then counts every encrypted column in the transaction that erases; for an index root it
   * decrypts every row that has a token. **Rows that it cannot see are lost**: those in backups, and in
   * tables of entities that this DataSource does not have.
   *
   * @throws {@link KeyStateError} for an active key, for one that rows still need, and for one whose row
   * does not prove what it says; retryable within the grace period, and while such transactions are open;
   * {@link KmsUnavailableError}; {@link ConfigurationError} for options that are not whole numbers from 0
   */
  async destroy(id: string, { graceMs, waitMs }: DestroyOptions = {}): Promise<DestroyedKey> {
    requireWait('destroy: waitMs', waitMs);
    const rows = encryptedRows(this.installation, waitMs);
    return this.run('destroy', { key: id, parameters: { graceMs } }, () =>
      this.#operations.destroy(id, rows, graceMs),
    );
  }

  /**
   * Wraps every key again, index root included, while the application runs: under the provider's newest
   * KEK version, or with `to` under another provider. Rows are not touched.
   * Other processes keep working if they have both providers (`kms` and `otherKms`). If interrupted, it
   * can be run again.
   */
  rewrap(options: RewrapOptions = {}): Promise<RewrapReport> {
    const { hasScopes, keys } = this.installation;
    const own = { ...options };
    const parameters = { ...own, to: own.to?.name };
    return this.run('rewrap', { parameters }, async () => {
      const report = await this.#operations.rewrap(own);
      const stranded = hasScopes ? await keys.scopeOperations.strandedBranches() : [];
      return { ...report, failures: [...report.failures, ...stranded] };
    });
  }

  /**
   * Lists the keys, of every purpose, that anyone with write access to the key table and a public key of
   * the KMS could have made: those wrapped by an RSA key before this library signed wrapped keys. They
   * decrypt, but nothing is protected with them until they are adopted.
   */
  unauthenticated(): Promise<KeyInfo[]> {
    return this.#operations.unauthenticated();
  }

  /**
   * Takes your word that keys are yours, and wraps them again with proof. Compare them first
   * ({@link DataKeys.unauthenticated}) with a backup or with the audit sink: if somebody else made a key
   * that you adopt, they can read everything written from then on. Adopts all of them, or none.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key, {@link KeyUnwrapError}
   */
  adopt({ ids }: { readonly ids: readonly string[] }): Promise<AdoptionReport> {
    const own = [...ids];
    return this.run('adopt', { parameters: { ids: own } }, () => this.#operations.adopt(own));
  }

  /**
   * Does what `keyPolicies` ask for now: announces the next version of a key, activates it when every process has had
   * time to load it, and destroys versions that nothing needs. Rotates keys of scopes that are due. Any number of
   * processes may run it, at any time. A retention policy has whole tables counted while there is a version to
   * destroy; where `destroy` needs approval, it is only listed. With `reencrypt` and `backup` it is the one job of a night.
   */
  maintain(options: UpkeepOptions = {}): Promise<UpkeepReport> {
    return maintain(this.installation, options);
  }

  /** Runs {@link DataKeys.maintain} now and every hour, until stopped or the DataSource is destroyed. */
  scheduleMaintenance(
    options: UpkeepOptions & ScheduleOptions<UpkeepReport> = {},
  ): MaintenanceSchedule<UpkeepReport> {
    const { everyMs, onReport, onError, ...maintenance } = options;
    requireUpkeepOptions(maintenance);
    const schedule = new MaintenanceSchedule(
      (signal) => this.maintain({ signal, ...maintenance }),
      defined({ everyMs, onReport, onError }),
    );
    this.installation.schedules.add(schedule);
    return schedule;
  }

  /**
   * Backs up every key, index root included, under a backup KEK or split among custodians. Keep the file
   * apart from the KEK or shares, and both apart from the database.
   *
   * @throws {@link KeyUnwrapError} when a key does not unwrap: a backup is complete or it is none
   */
  backup(protection: BackupProtection): Promise<KeyBackup> {
    const own = { ...protection };
    return this.run('backup', backupSubject(own), () => this.#operations.backup(own));
  }

  /**
   * Restores the keys of a backup that are missing from the key table, wrapped by this DataSource's KMS.
   * Verifies everything before it writes, overwrites nothing, and can be run again.
   *
   * @throws {@link KeyStateError} if the table has a different key in the place of one;
   * {@link UnauthenticatedKeyError} for a file that could have been made without its KMS
   */
  restore(file: string, opener: BackupOpener, options?: RestoreOptions): Promise<RestoreReport> {
    const sha256 = createHash('sha256').update(file).digest('hex');
    const own = { ...options, sha256 };
    const work = () => this.#operations.restore(file, opener, own);
    return this.run('restore', { parameters: own }, work);
  }

  /**
   * Accepts the key table as the newest, after a restore of the database or a failover that lost a change
   * of a key. The acceptance is recorded, and running processes follow.
   *
   * @param epoch - the newest epoch that is given up, as the error or `audit verify` names it.
   * @throws {@link KeyStateError} for an epoch below one that is known, or a row that was edited;
   * {@link ConfigurationError} without a reason
   */
  acceptEpoch(epoch: number, options: AcceptEpochOptions): Promise<AcceptEpochReport> {
    const own = { ...options, epoch };
    const work = () => this.#operations.acceptEpoch(epoch, own);
    return this.run('acceptEpoch', { parameters: own }, work);
  }

  /** Restores a backup into memory and reads rows of the database with it. */
  drill(file: string, opener: BackupOpener): Promise<DrillReport> {
    return this.run('drill', { parameters: {} }, () => drill(this.installation, file, opener));
  }

  /**
   * Counts the rows under a data key in every encrypted column; for an index root, the tokens in every
   * blind index that may be of it, for which every row is decrypted.
   *
   * @throws {@link KeyNotFoundError}
   */
  async uses(id: string): Promise<ColumnUse[]> {
    const key = await this.#operations.find(id);
    return withOwnTables(this.installation.dataSource, undefined, (runner) =>
      keyUses(this.installation, runner, key),
    );
  }
}
