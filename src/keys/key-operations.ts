import type { AcceptEpochOptions, AcceptEpochReport } from './audit/accept-epoch';
import { acceptEpoch } from './audit/accept-epoch';
import type { BackupOpener, BackupProtection } from './backup/backup-key';
import type { KeyBackup } from './backup/create-backup';
import { createBackup } from './backup/create-backup';
import type { RestoreOptions, RestoreReport } from './backup/restore-backup';
import { noTableToRestoreTo, restoreBackup } from './backup/restore-backup';
import { adoptKeys, unauthenticatedKeys } from './lifecycle/key-adoption';
import type { IndexRotation, IndexRotationOptions } from './lifecycle/index-rotation';
import { requireSettledIndex, rotateIndex } from './lifecycle/index-rotation';
import type { KeyInfo } from './record/key-info';
import { keyInfo, keyInfos } from './policy/key-policy';
import type { MaintenanceOptions, MaintenanceReport } from './lifecycle/key-maintenance';
import { maintain } from './lifecycle/key-maintenance';
import { atRestFrom } from './lifecycle/key-retirement';
import type { ColumnUse, EncryptedRows } from './lifecycle/key-retirement';
import { requireNeverMade } from './lifecycle/first-key';
import type { KeyPurpose, KeyRecord } from './record/key-record';
import type { RewrapOptions, RewrapReport } from './lifecycle/key-rewrap';
import { rewrap } from './lifecycle/key-rewrap';
import type { KeyServices } from './key-services';
import { resumeKey, suspendKey } from './lifecycle/key-suspension';
import type { CreatedKey } from './wrapping/key-wrapper';
import { noActiveKey } from './record/key-versions';
import { requireWait } from './lifecycle/wait-option';

/** What {@link KeyOperations} tell the keys in memory. */
export interface KeyMemory {
  /** Takes over an active key that is committed. */
  readonly accept: (created: CreatedKey) => void;
  /** Encrypts nothing with this key any more, which reads on. */
  readonly retire: (keyId: string) => void;
  /** Forgets a key that was destroyed, or is another one now. */
  readonly forget: (keyId: string) => void;
  /** Encrypts with no key before it is confirmed anew. */
  readonly retireAll: () => void;
  /** Encrypts nothing under a name any more, for this reason. */
  readonly withdraw: (name: string, reason: Error) => void;
  /** Takes the index roots in as they are in the table now. */
  readonly refreshIndexRoots: () => Promise<void>;
}

/** Options of a revocation. */
export interface RevokeOptions {
  /**
   * Whether a new version takes the place of an active key. Without, the KMS is not needed, and
   * nothing can be written under the name until it is rotated. Defaults to `true`.
   */
  replace?: boolean;
}

/** A key that was revoked. */
export interface RevokedKey {
  readonly key: KeyInfo;
  /** The new active version; `null` where the revoked one was not active. */
  readonly replacement: KeyInfo | null;
  /**
   * Whether the row proved that this library wrote it. `false` where it was edited, or wrapped by a KMS
   * that this process does not have: name, version and dates in it may be somebody else's. `null` where
   * the KMS was not asked.
   */
  readonly proven: boolean | null;
}

/** What an adoption did. */
export interface AdoptionReport {
  /** Keys that prove now that the KMS has wrapped them. */
  readonly adopted: readonly KeyInfo[];
  /** Keys that did so before. */
  readonly current: readonly KeyInfo[];
}

/** A key that was destroyed, with the proof. */
export interface DestroyedKey {
  readonly key: KeyInfo;
  readonly previousState: KeyRecord['state'];
  /** SHA-256, in hexadecimal, of the wrapped key that was erased: tells copies of it in backups. */
  readonly wrappedKeySha256: string;
  /** Every encrypted column, counted in the transaction that erased the key; none has a row under it. */
  readonly columns: readonly ColumnUse[];
}

/** What operators do to keys, beside the everyday use that `KeyManager` serves. */
export class KeyOperations<C> {
  readonly #services: KeyServices<C>;
  readonly #memory: KeyMemory;

  constructor(services: KeyServices<C>, memory: KeyMemory) {
    this.#services = services;
    this.#memory = memory;
  }

  /**
   * Marks a data key as compromised. An active one is replaced first, in the same transaction, so
   * that there is no moment without a key to write with. It reads on, for its rows to be re-encrypted.
   * What somebody has written into its row does not keep it from being revoked; see
   * {@link RevokedKey.proven}.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or the index root,
   * {@link KmsUnavailableError} when a replacement cannot be made; nothing was changed then
   */
  async revoke(id: string, { replace = true }: RevokeOptions = {}): Promise<RevokedKey> {
    if (replace) await this.#services.table.requireReady();
    else await this.#services.table.require();
    const { retirement } = this.#services;
    // Whatever fails after the change: nothing is to be encrypted with the key any more.
    const {
      record,
      replacement,
      isProven = null,
    } = await retirement.revoke(id, replace).finally(() => {
      this.#memory.retire(id);
    });
    if (replacement !== undefined) this.#memory.accept(replacement);
    return {
      key: this.#info(record),
      replacement: replacement === undefined ? null : this.#info(replacement.record),
      proven: isProven,
    };
  }

  /**
   * Stops encryption under the name of an active data key. What it has encrypted is read on.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not active
   */
  async suspend(id: string): Promise<KeyInfo> {
    await this.#services.table.requireReady();
    const record = await suspendKey(this.#services, id);
    this.#memory.withdraw(record.name, noActiveKey('data', record.name, [record]));
    return this.#info(record);
  }

  /**
   * Ends a suspension: the key is active again, or deactivated where a newer version was active since.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a key that is not suspended
   */
  async resume(id: string): Promise<KeyInfo> {
    await this.#services.table.requireReady();
    return this.#info(await resumeKey(this.#services, id));
  }

  /**
   * Erases a wrapped key and leaves its row as a tombstone.
   *
   * @param rows - those that may be under the key: writers under way are waited for, then it counts
   * in the transaction that erases.
   * @param graceMs - refuses a key that was active less than this ago, and an index root for the
   * maximum age of keys in memory at least, which is the default. 0 also vouches for a row that does not
   * prove itself.
   * @throws {@link KeyStateError} for an active key, one that rows need, and one whose row does not prove
   * itself; retryable for one within its grace period, and while others have transactions open in which
   * they may have written
   * @throws {@link KeyNotFoundError}, {@link KmsUnavailableError}
   */
  async destroy(id: string, rows: EncryptedRows<C>, graceMs?: number): Promise<DestroyedKey> {
    requireWait('destroy: graceMs', graceMs);
    const { retirement, table } = this.#services;
    await table.requireReady();
    const key = await retirement.find(id);
    const how = { graceMs: this.#graceOf(key, graceMs), evenUnproven: graceMs === 0 };
    const destroyed = await retirement.destroy(id, how, rows);
    this.#memory.forget(id);
    if (key.purpose === 'index') await this.#refreshIndexRoots();
    const { record, previousState, wrappedKeySha256, uses } = destroyed;
    return { key: this.#info(record), previousState, wrappedKeySha256, columns: uses };
  }

  /**
   * Wraps every key again, under the provider's newest KEK or under another provider. The keys stay
   * the same; rows are not touched. When all went over, this process wraps with the new provider.
   *
   * @throws {@link KmsUnavailableError}; a key that fails by itself is in the report instead
   */
  async rewrap(options: RewrapOptions): Promise<RewrapReport> {
    await this.#services.table.requireReady();
    return rewrap(this.#services, options);
  }

  /** The keys, of every purpose, that somebody without the KMS could have made. */
  async unauthenticated(): Promise<KeyInfo[]> {
    await this.#services.table.require();
    return (await unauthenticatedKeys(this.#services)).map((record) => this.#info(record));
  }

  /**
   * Takes the caller's word that keys are this application's, and wraps them again so that they prove
   * it from now on. All of them, or none.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError}, {@link KeyUnwrapError},
   * {@link ConfigurationError} where the KMS cannot prove what it wraps, {@link KmsUnavailableError}
   */
  async adopt(ids: readonly string[]): Promise<AdoptionReport> {
    await this.#services.table.require();
    const { adopted, current } = await adoptKeys(this.#services, ids);
    // In memory they are for reading alone.
    for (const { id } of adopted) this.#memory.forget(id);
    const info = (record: KeyRecord): KeyInfo => this.#info(record);
    return { adopted: adopted.map(info), current: current.map(info) };
  }

  /**
   * Does what the policies of the keys ask for at this moment. Any number of processes may.
   *
   * @param rows - as for {@link KeyOperations.destroy}.
   * @throws {@link ConfigurationError} for a wait that is shorter than the cache's; what fails for
   * one key name is in the report instead
   */
  async maintain(options: MaintenanceOptions, rows: EncryptedRows<C>): Promise<MaintenanceReport> {
    for (const option of ['announceMs', 'graceMs', 'waitMs'] as const) {
      requireWait(`maintain: ${option}`, options[option]);
    }
    await this.#services.table.requireReady();
    const { accept, forget } = this.#memory;
    return maintain(this.#services, options, { rows, accept, forget });
  }

  /**
   * Backs up every key that is not destroyed, index root included.
   *
   * @param dryRun - records nothing: the backup is only to be counted.
   * @throws {@link KeyUnwrapError} when one of them does not unwrap, {@link ConfigurationError} for a
   * number of shares that cannot be
   */
  async backup(protection: BackupProtection, dryRun = false): Promise<KeyBackup> {
    const { application, audit, table } = this.#services;
    await table.requireReady();
    const backup = await createBackup(this.#services, application, protection);
    if (dryRun) return backup;
    const counts = { keys: backup.keys, shares: backup.shares.length };
    const event = { operation: 'backup', outcome: 'done', reference: backup.id, counts } as const;
    await audit?.record(event);
    return backup;
  }

  /**
   * Puts the keys of a backup into the table that are missing there. Overwrites nothing.
   *
   * @throws {@link KeyStateError} where the table has a different key in the place of one;
   * {@link KeyUnwrapError} for a changed file or the wrong opener; {@link ConfigurationError};
   * {@link UnauthenticatedKeyError} for a file that somebody without its KMS could have made
   */
  async restore(
    file: string,
    opener: BackupOpener,
    options: RestoreOptions = {},
  ): Promise<RestoreReport> {
    const { application, table } = this.#services;
    if (!(await table.isReady())) throw noTableToRestoreTo();
    return restoreBackup(this.#services, application, file, opener, options);
  }

  /** See {@link acceptEpoch}. */
  async acceptEpoch(epoch: number, options: AcceptEpochOptions): Promise<AcceptEpochReport> {
    await this.#services.table.require();
    const report = await acceptEpoch(this.#services, epoch, options);
    // A key that was given up is not to be written with once more.
    if (options.dryRun !== true) this.#memory.retireAll();
    return report;
  }

  /**
   * Takes the next step of rotating the index key; see {@link IndexRotation}.
   *
   * @throws {@link KeyStateError} without an active root, and while the root of an earlier rotation
   * is not destroyed; {@link ConfigurationError} for a wait that is shorter than the cache's maximum
   * age; {@link KmsUnavailableError}
   */
  async rotateIndex(options: IndexRotationOptions): Promise<IndexRotation> {
    await this.#services.table.requireReady();
    const rotation = await rotateIndex(this.#services, options);
    if (options.dryRun !== true) await this.#refreshIndexRoots();
    return rotation;
  }

  /** Every root of the blind indexes, by version. */
  async listIndexRoots(): Promise<KeyInfo[]> {
    const { policies, store, table } = this.#services;
    await table.require();
    return keyInfos(await store.list(), policies, 'index');
  }

  /**
   * Refuses while a process may still make tokens with a root that was replaced.
   *
   * @throws {@link KeyStateError}, retryable
   */
  requireSettledIndex(): Promise<void> {
    return requireSettledIndex(this.#services);
  }

  /**
   * Refuses where a first version of a key must not be made; changes nothing.
   *
   * @throws {@link KeyNotFoundError} for a key that there was before
   */
  requireNeverMade(purpose: KeyPurpose, name: string, connection?: C): Promise<void> {
    return requireNeverMade(this.#services, purpose, name, connection);
  }

  /**
   * From when on {@link KeyOperations.destroy} erases a key that no row needs; `null` for one that was
   * never active, or without a grace period. Changes nothing.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a row that does not prove itself
   */
  async atRestFrom(id: string, graceMs?: number): Promise<Date | null> {
    const { retirement, store } = this.#services;
    const record = await retirement.find(id);
    const authenticate = await retirement.proveErasable(record, graceMs === 0);
    if (authenticate === undefined) return null;
    return atRestFrom(record, this.#graceOf(record, graceMs), await store.now());
  }

  /** @throws {@link KeyNotFoundError} */
  async find(id: string): Promise<KeyInfo> {
    await this.#services.table.require();
    return this.#info(await this.#services.retirement.find(id));
  }

  #graceOf({ purpose }: KeyRecord, graceMs: number | undefined): number {
    const { maxAgeMs } = this.#services.policy;
    // A process that still had the root would write tokens that nobody finds.
    const leastMs = purpose === 'index' ? maxAgeMs : 0;
    return Math.max(graceMs ?? maxAgeMs, leastMs);
  }

  /** What was done is done: if the KMS is away now, this process follows with its next refresh. */
  async #refreshIndexRoots(): Promise<void> {
    await this.#memory.refreshIndexRoots().catch(() => undefined);
  }

  #info(record: KeyRecord): KeyInfo {
    return keyInfo(record, this.#services.policies);
  }
}
