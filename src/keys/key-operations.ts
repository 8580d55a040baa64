import { acceptEpoch } from './audit/accept-epoch';
import type { AcceptEpochOptions, AcceptEpochReport } from './audit/accept-epoch';
import type { BackupOpener, BackupProtection } from './backup/backup-key';
import { createBackup } from './backup/create-backup';
import type { KeyBackup } from './backup/create-backup';
import { restoreBackup } from './backup/restore-backup';
import type { RestoreOptions, RestoreReport } from './backup/restore-backup';
import type { CurrentKeys } from './cache/current-keys';
import type { KeyPreparation } from './cache/key-preparation';
import type { KeyRing } from './cache/key-ring';
import type { KeyServices } from './key-services';
import type { EncryptedRows } from './lifecycle/encrypted-rows';
import { requireNeverMade } from './lifecycle/first-key';
import { requireSettledIndex, rotateIndex } from './lifecycle/index-rotation';
import type { IndexRotation, IndexRotationOptions } from './lifecycle/index-rotation';
import { adoptKeys, unauthenticatedKeys } from './lifecycle/key-adoption';
import type { AdoptionReport } from './lifecycle/key-adoption';
import { destroyKey } from './lifecycle/key-destruction';
import type { DestroyedKey } from './lifecycle/key-destruction';
import { maintain } from './lifecycle/key-maintenance';
import type { ApprovedMaintenance, MaintenanceReport } from './lifecycle/maintenance-report';
import { atRestFrom } from './lifecycle/key-retirement';
import { revokeKey } from './lifecycle/key-revocation';
import type { RevokedKey, RevokeOptions } from './lifecycle/key-revocation';
import { newestKek, rewrap } from './lifecycle/key-rewrap';
import type { RewrapOptions, RewrapReport } from './lifecycle/key-rewrap';
import { resumeKey, suspendKey } from './lifecycle/key-suspension';
import { requireWait } from './policy/wait-option';
import { keyInfo, keyInfos } from './policy/key-policy';
import type { KeyInfo } from './record/key-info';
import type { KeyPurpose, KeyRecord } from './record/key-record';
import { noActiveKey } from './record/key-versions';

/** The keys in memory, which follow the changes in the table. */
interface KeysInMemory<C> {
  readonly current: CurrentKeys;
  readonly ring: KeyRing<C>;
  readonly preparation: KeyPreparation<C>;
}

/**
 * The operators' side of a `KeyManager`. Each operation requires the key table, does its work there, and
 * updates the keys in memory. `DataKeys` documents them for users.
 */
export class KeyOperations<C> {
  readonly #services: KeyServices<C>;
  readonly #memory: KeysInMemory<C>;

  constructor(services: KeyServices<C>, memory: KeysInMemory<C>) {
    this.#services = services;
    this.#memory = memory;
  }

  /** See {@link revokeKey}. */
  async revoke(id: string, { replace = true }: RevokeOptions = {}): Promise<RevokedKey> {
    if (replace) await this.#services.table.requireReady();
    else await this.#services.table.require();
    // Even if a step after the change fails, nothing may be encrypted with the key any more.
    const revoked = await revokeKey(this.#services, id, replace).finally(() => {
      this.#memory.current.retire(id);
    });
    const { record, replacement, isProven = null } = revoked;
    if (replacement !== undefined) this.#memory.current.acceptActivated(replacement);
    return {
      key: this.#info(record),
      replacement: replacement === undefined ? null : this.#info(replacement.record),
      proven: isProven,
    };
  }

  /** See {@link suspendKey}. */
  async suspend(id: string): Promise<KeyInfo> {
    await this.#services.table.requireReady();
    const record = await suspendKey(this.#services, id);
    const { name } = record;
    this.#memory.current.withdraw({ purpose: 'data', name }, noActiveKey('data', name, [record]));
    return this.#info(record);
  }

  /** See {@link resumeKey}. */
  async resume(id: string): Promise<KeyInfo> {
    await this.#services.table.requireReady();
    return this.#info(await resumeKey(this.#services, id));
  }

  /**
   * See {@link destroyKey}.
   *
   * @param graceMs - at least the maximum age of keys in memory for an index root; defaults to that. 0
   * also vouches for a row that does not prove itself.
   */
  async destroy(id: string, rows: EncryptedRows<C>, graceMs?: number): Promise<DestroyedKey> {
    requireWait('destroy: graceMs', graceMs);
    const { retirement, table } = this.#services;
    await table.requireReady();
    const key = await retirement.find(id);
    const how = { graceMs: this.#graceOf(key, graceMs), evenUnproven: graceMs === 0 };
    const { record, ...proof } = await destroyKey(this.#services, id, how, rows);
    this.#forget(id);
    if (key.purpose === 'index') await this.#refreshIndexRoots();
    return { key: this.#info(record), ...proof };
  }

  /** See {@link rewrap}. */
  async rewrap(options: RewrapOptions): Promise<RewrapReport> {
    await this.#services.table.requireReady();
    return rewrap(this.#services, options);
  }

  /** Returns what would wrap a new key of a name now. */
  kekFor(name: string): Promise<Pick<KeyInfo, 'kms' | 'kek'>> {
    return newestKek(this.#services.wrapper.providers.wrapperOf(name));
  }

  /** See {@link unauthenticatedKeys}. */
  async unauthenticated(): Promise<KeyInfo[]> {
    await this.#services.table.require();
    return (await unauthenticatedKeys(this.#services)).map((record) => this.#info(record));
  }

  /** See {@link adoptKeys}. */
  async adopt(ids: readonly string[]): Promise<AdoptionReport> {
    await this.#services.table.require();
    const { adopted, current } = await adoptKeys(this.#services, ids);
    // In memory they are for reading alone.
    for (const { id } of adopted) this.#forget(id);
    const info = this.#info.bind(this);
    return { adopted: adopted.map(info), current: current.map(info) };
  }

  /** See {@link maintain}. */
  async maintain(options: ApprovedMaintenance, rows: EncryptedRows<C>): Promise<MaintenanceReport> {
    for (const option of ['announceMs', 'graceMs', 'waitMs'] as const) {
      requireWait(`maintain: ${option}`, options[option]);
    }
    await this.#services.table.requireReady();
    return maintain(this.#services, options, {
      rows,
      accept: (created) => {
        this.#memory.current.acceptActivated(created);
      },
      forget: (id) => {
        this.#forget(id);
      },
    });
  }

  /** Counts what {@link createBackup} would back up, and makes sure that it could. */
  async foreseeBackup(protection: BackupProtection): Promise<Pick<KeyBackup, 'keys' | 'leftOut'>> {
    await this.#services.table.requireReady();
    const { keys, leftOut } = await createBackup(this.#services, protection);
    return { keys, leftOut };
  }

  /** See {@link createBackup}. */
  async backup(protection: BackupProtection): Promise<KeyBackup> {
    const { audit, table } = this.#services;
    await table.requireReady();
    const backup = await createBackup(this.#services, protection);
    const counts = { keys: backup.keys, shares: backup.shares.length };
    await audit?.record({ operation: 'backup', outcome: 'done', reference: backup.id, counts });
    return backup;
  }

  /** See {@link restoreBackup}. */
  restore(
    file: string,
    opener: BackupOpener,
    options: RestoreOptions = {},
  ): Promise<RestoreReport> {
    return restoreBackup(this.#services, file, opener, options);
  }

  /** See {@link acceptEpoch}. */
  async acceptEpoch(epoch: number, options: AcceptEpochOptions): Promise<AcceptEpochReport> {
    await this.#services.table.require();
    const report = await acceptEpoch(this.#services, epoch, options);
    // A key that was given up must not encrypt anything more.
    if (options.dryRun !== true) this.#memory.current.retireAll();
    return report;
  }

  /** See {@link rotateIndex}. */
  async rotateIndex(options: IndexRotationOptions): Promise<IndexRotation> {
    await this.#services.table.requireReady();
    const rotation = await rotateIndex(this.#services, options);
    if (options.dryRun !== true) await this.#refreshIndexRoots();
    return rotation;
  }

  /** Lists every root of the blind indexes, by version. */
  async listIndexRoots(): Promise<KeyInfo[]> {
    const { policies, store, table } = this.#services;
    await table.require();
    return keyInfos(await store.list(), policies, 'index');
  }

  /** See {@link requireSettledIndex}. */
  requireSettledIndex(): Promise<void> {
    return requireSettledIndex(this.#services);
  }

  /** See {@link requireNeverMade}. */
  requireNeverMade(purpose: KeyPurpose, name: string, connection?: C): Promise<void> {
    return requireNeverMade(this.#services, purpose, name, connection);
  }

  /**
   * Returns the time from which {@link KeyOperations.destroy} erases a key that no row needs; `null` for one that it
   * erases now. Changes nothing.
   *
   * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a row that does not prove itself
   */
  async atRestFrom(id: string, graceMs?: number): Promise<Date | null> {
    const { retirement, store } = this.#services;
    const record = await retirement.find(id);
    const authenticate = await retirement.proveErasable(record, graceMs === 0);
    if (authenticate === undefined) return null;
    const now = await store.now();
    const from = atRestFrom(record, this.#graceOf(record, graceMs), now);
    return from === null || from <= now ? null : from;
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

  #forget(id: string): void {
    this.#memory.current.retire(id);
    this.#memory.ring.forget(id);
  }

  /** Never rejects: the change is committed, and if the KMS is away the next refresh catches up. */
  async #refreshIndexRoots(): Promise<void> {
    await this.#memory.preparation.confirm([], true).catch(() => undefined);
  }

  #info(record: KeyRecord): KeyInfo {
    return keyInfo(record, this.#services.policies);
  }
}
