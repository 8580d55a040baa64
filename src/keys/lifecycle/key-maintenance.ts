import { ConfigurationError, FieldEncryptionError, KeyStateError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import { endOfWait } from '../store/watched-key-store';
import type { KeyInfo } from '../record/key-info';
import { keyInfo, policyOf } from '../policy/key-policy';
import { announcedAfter, isVersionOf, soleActive } from '../record/key-versions';
import type { KeyRecord } from '../record/key-record';
import { changedMeanwhile, KeyNeededError } from './key-retirement';
import type { EncryptedRows } from './key-retirement';
import type { KeyServices } from '../key-services';
import { requireAuthenticated } from '../wrapping/key-wrapper';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { goesByVersions, isRetained } from '../policy/retention-policy';
import type { RetentionPolicy } from '../policy/retention-policy';
import { nextRotationAt } from '../policy/rotation-policy';

/** Options of `maintain()`. */
export interface MaintenanceOptions {
  /**
   * Milliseconds from announcing a version to writing with it, in which every process takes it in.
   * At least `keyCache.ttlMs`. Defaults to twice that. By the clock of the database.
   */
  announceMs?: number;
  /**
   * Milliseconds after its deactivation in which a key is not destroyed, since a process may still
   * write with it. Defaults to `keyCache.maxAgeMs`. By the clock of the database, and 31 seconds longer.
   */
  graceMs?: number;
  /**
   * Milliseconds to wait, before a key is destroyed, for open transactions that may have written with
   * it. Defaults to 30,000. A key that they keep from being destroyed is among the failures.
   */
  waitMs?: number;
  /** Says what would change and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** Something that `maintain()` could not do. */
export interface MaintenanceFailure {
  readonly keyName: string;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** What `maintain()` did (in a dry run: would try). What another process did first is not in it. */
export interface MaintenanceReport {
  /** New versions, which nobody writes with yet. In a dry run, the active keys they would follow. */
  readonly announced: readonly KeyInfo[];
  /** Versions that were announced before and are active now. */
  readonly activated: readonly KeyInfo[];
  readonly destroyed: readonly KeyInfo[];
  /** Versions that their policy would destroy, and rows need. */
  readonly stillNeeded: readonly KeyInfo[];
  readonly failures: readonly MaintenanceFailure[];
}

/** What a run tells of. */
export interface MaintenanceHooks<C> {
  readonly rows: EncryptedRows<C>;
  readonly accept: (created: CreatedKey) => void;
  readonly forget: (keyId: string) => void;
}

/**
 * Does what the policies ask for at this moment: announces, activates, destroys. Any number of
 * processes may run it: every step is a compare-and-swap that one of them wins.
 */
export async function maintain<C>(
  services: KeyServices<C>,
  options: MaintenanceOptions,
  hooks: MaintenanceHooks<C>,
): Promise<MaintenanceReport> {
  const { ttlMs, maxAgeMs } = services.policy;
  const { announceMs = 2 * ttlMs, graceMs = maxAgeMs, dryRun = false } = options;
  if (!(announceMs >= ttlMs)) {
    throw new ConfigurationError(
      `maintain: got announceMs ${String(announceMs)}, want at least keyCache.ttlMs, which is ${String(ttlMs)}.`,
    );
  }
  const now = await services.store.now();
  const policyTime = await services.policyTime();
  const times = { now, policyTime };
  const run = new MaintenanceRun(services, { announceMs, graceMs, dryRun }, hooks, times);
  if (!dryRun) await services.uses.flush();
  const listed = services.uses.counted(await services.store.list());
  const records = listed.filter(({ purpose }) => purpose === 'data');
  for (const name of new Set(records.map((record) => record.name))) {
    await run.rotation(name, records.filter(isVersionOf('data', name)));
    await run.retention(name, records.filter(isVersionOf('data', name)));
  }
  return run.report;
}

type SettledOptions = Required<Omit<MaintenanceOptions, 'waitMs'>>;

/** When a run began. */
interface RunTimes {
  /** By the clock of the database: what has to be waited for. */
  readonly now: Date;
  /** What policies go by. */
  readonly policyTime: Date;
}

class MaintenanceRun<C> {
  readonly #services: KeyServices<C>;
  readonly #options: SettledOptions;
  readonly #hooks: MaintenanceHooks<C>;
  readonly #times: RunTimes;
  readonly report = {
    announced: [] as KeyInfo[],
    activated: [] as KeyInfo[],
    destroyed: [] as KeyInfo[],
    stillNeeded: [] as KeyInfo[],
    failures: [] as MaintenanceFailure[],
  };

  constructor(
    services: KeyServices<C>,
    options: SettledOptions,
    hooks: MaintenanceHooks<C>,
    times: RunTimes,
  ) {
    this.#services = services;
    this.#times = times;
    this.#options = options;
    this.#hooks = hooks;
  }

  async rotation(name: string, versions: readonly KeyRecord[]): Promise<void> {
    await this.#noting(name, async () => {
      const active = soleActive(versions);
      if (active === undefined) return;
      const dueAt = this.#dueAt(active);
      const announced = announcedAfter(versions, active);
      if (announced !== undefined) await this.#activateInTime(announced, active, dueAt);
      else if (dueAt !== null && this.#isPolicyTime(dueAt.getTime() - this.#options.announceMs)) {
        await this.#announce(active);
      }
    });
  }

  /** By what rows claim, first; what they claim is proven before it decides, or anything is erased. */
  async retention(name: string, versions: readonly KeyRecord[]): Promise<void> {
    const { retention = { kind: 'forever' } } = policyOf(this.#services.policies, name);
    for (const record of versions) {
      if (record.state !== 'deactivated' && record.state !== 'compromised') continue;
      const since = record.deactivatedAt ?? record.createdAt;
      if (this.#times.now < endOfWait(since, this.#options.graceMs)) continue;
      await this.#noting(name, async () => {
        if (this.#isRetained(retention, record, versions)) return;
        const found = await this.#services.retirement.find(record.id);
        // Another process was faster.
        if (found.state !== record.state) return;
        const proven = await this.#proven(found);
        // The name, by which the policy was found, was a claim, too.
        if (proven.name !== name || proven.purpose !== 'data') throw changedMeanwhile(record.id);
        const others = goesByVersions(retention) ? await this.#provenOf(name, versions) : versions;
        if (!this.#isRetained(retention, proven, others)) await this.#destroy(this.#info(proven));
      });
    }
  }

  #isRetained(
    retention: RetentionPolicy,
    record: KeyRecord,
    versions: readonly KeyRecord[],
  ): boolean {
    const isAmong = versions.some(({ id }) => id === record.id);
    const all = isAmong ? versions : [...versions, record];
    const infos = all.map((each) => this.#info(each.id === record.id ? record : each));
    return isRetained(retention, this.#info(record), infos, this.#times.policyTime);
  }

  async #proven(record: KeyRecord): Promise<KeyRecord> {
    const { retirement } = this.#services;
    if (!this.#options.dryRun) return retirement.proven(record);
    await retirement.prove(record);
    return record;
  }

  /** Without those that do not prove themselves, which are among the failures. */
  async #provenOf(name: string, versions: readonly KeyRecord[]): Promise<KeyRecord[]> {
    const { retirement, store, wrapper } = this.#services;
    const proven: KeyRecord[] = [];
    for (const record of await store.findByIds(versions.map(({ id }) => id))) {
      await this.#noting(name, async () => {
        if (record.state !== 'destroyed') {
          const isAuthenticated = wrapper.providers.isAuthenticated(record);
          requireAuthenticated(record, { isAuthenticated });
          await retirement.prove(record);
        }
        proven.push(record);
      });
    }
    return proven;
  }

  #isPolicyTime(time: number): boolean {
    return this.#times.policyTime.getTime() >= time;
  }

  #info(record: KeyRecord): KeyInfo {
    return keyInfo(record, this.#services.policies);
  }

  #dueAt(active: KeyRecord): Date | null {
    const { rotation = { kind: 'manual' } } = policyOf(this.#services.policies, active.name);
    return nextRotationAt(rotation, active);
  }

  async #announce(active: KeyRecord): Promise<void> {
    const { lifecycle, wrapper } = this.#services;
    if (this.#options.dryRun) {
      this.report.announced.push(this.#info(active));
      return;
    }
    // Under a wrong KEK this process would make a key that no other can read.
    await wrapper.unwrapToRead(active);
    const announced = await lifecycle.announce(active.name);
    if (announced !== undefined) this.report.announced.push(this.#info(announced.record));
  }

  async #activateInTime(
    announced: KeyRecord,
    active: KeyRecord,
    dueAt: Date | null,
  ): Promise<void> {
    const readableAt = announced.createdAt.getTime() + this.#options.announceMs;
    if (this.#times.now.getTime() < readableAt) return;
    if (dueAt !== null && !this.#isPolicyTime(dueAt.getTime())) return;
    if (this.#options.dryRun) {
      this.report.activated.push(this.#info(announced));
      return;
    }
    const activated = await this.#services.lifecycle.activate(announced, active);
    if (activated === undefined) return;
    this.#hooks.accept(activated);
    this.report.activated.push(this.#info(activated.record));
  }

  async #destroy(key: KeyInfo): Promise<void> {
    const { graceMs, dryRun } = this.#options;
    if (dryRun) {
      this.report.destroyed.push(key);
      return;
    }
    const { retirement } = this.#services;
    try {
      const { record } = await retirement.destroy(
        key.id,
        { graceMs, evenUnproven: false },
        this.#hooks.rows,
      );
      this.#hooks.forget(key.id);
      this.report.destroyed.push(this.#info(record));
    } catch (error) {
      if (!(error instanceof KeyStateError)) throw error;
      // Another process was faster.
      if ((await retirement.find(key.id)).state === 'destroyed') return;
      if (!(error instanceof KeyNeededError)) throw error;
      this.report.stillNeeded.push(key);
    }
  }

  /** What fails for one name must not keep the others from being maintained. */
  async #noting(keyName: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      const { code, message, keyId } = error;
      // The row of a key may be looked at more than once.
      const isKnown = this.report.failures.some((failure) => failure.message === message);
      if (keyId !== undefined && isKnown) return;
      this.report.failures.push({ keyName, code, message });
    }
  }
}
