import { ConfigurationError, FieldEncryptionError, KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import { keyInfo, policyOf } from '../policy/key-policy';
import { goesByVersions, isRetained } from '../policy/retention-policy';
import type { RetentionPolicy } from '../policy/retention-policy';
import { nextRotationAt } from '../policy/rotation-policy';
import type { KeyInfo } from '../record/key-info';
import type { KeyRecord } from '../record/key-record';
import { announcedAfter, isVersionOf, soleActive } from '../record/key-versions';
import { endOfWait } from '../store/watched-key-store';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { requireAuthenticated } from '../wrapping/unwrapped-key';

import { changedMeanwhile } from './compare-and-swap';
import { KeyNeededError } from './encrypted-rows';
import type { EncryptedRows } from './encrypted-rows';
import { destroyKey } from './key-destruction';
import type {
  ApprovedMaintenance,
  MaintenanceFailure,
  MaintenanceReport,
} from './maintenance-report';

/** The port of a run to the rows of the database and to the keys in memory. */
interface MaintenanceHooks<C> {
  readonly rows: EncryptedRows<C>;
  readonly accept: (created: CreatedKey) => void;
  readonly forget: (keyId: string) => void;
}

/**
 * Does what the policies ask for now: announces, activates, destroys. Any number of processes may run
 * it: every step is a compare-and-swap that one of them wins.
 */
export async function maintain<C>(
  services: KeyServices<C>,
  options: ApprovedMaintenance,
  hooks: MaintenanceHooks<C>,
): Promise<MaintenanceReport> {
  const { policy, policyTime, store, uses } = services;
  const { announceMs = 2 * policy.ttlMs, graceMs = policy.maxAgeMs } = options;
  const { dryRun = false, needsApproval = false } = options;
  if (!(announceMs >= policy.ttlMs)) {
    throw new ConfigurationError(
      `maintain: got announceMs ${String(announceMs)}, want at least keyCache.ttlMs, which is ${String(policy.ttlMs)}.`,
    );
  }
  const now = await store.now();
  const settings = {
    announceMs,
    graceMs,
    dryRun,
    needsApproval,
    now,
    policyTime: await policyTime(),
  };
  const run = new MaintenanceRun(services, settings, hooks);
  if (!dryRun) await uses.flush();
  const records = uses.counted(await store.list()).filter(({ purpose }) => purpose === 'data');
  for (const name of new Set(records.map((record) => record.name))) {
    const versions = records.filter(isVersionOf('data', name));
    await run.rotation(name, versions);
    await run.retention(name, versions);
  }
  return run.report;
}

/** The options, and the beginning of the run by the clocks of the database and of the policies. */
interface RunSettings extends Required<Omit<ApprovedMaintenance, 'waitMs'>> {
  readonly now: Date;
  readonly policyTime: Date;
}

class MaintenanceRun<C> {
  readonly #services: KeyServices<C>;
  readonly #settings: RunSettings;
  readonly #hooks: MaintenanceHooks<C>;
  readonly report = {
    announced: [] as KeyInfo[],
    activated: [] as KeyInfo[],
    destroyed: [] as KeyInfo[],
    awaitingApproval: [] as KeyInfo[],
    stillNeeded: [] as KeyInfo[],
    scopes: [],
    failures: [] as MaintenanceFailure[],
  };

  constructor(services: KeyServices<C>, settings: RunSettings, hooks: MaintenanceHooks<C>) {
    this.#services = services;
    this.#settings = settings;
    this.#hooks = hooks;
  }

  async rotation(name: string, versions: readonly KeyRecord[]): Promise<void> {
    await this.#noting(name, async () => {
      const active = soleActive(versions);
      if (active === undefined) return;
      const { rotation = { kind: 'manual' } } = policyOf(this.#services.policies, name);
      const dueAt = nextRotationAt(rotation, active);
      const announced = announcedAfter(versions, active);
      if (announced !== undefined) await this.#activate(announced, active, dueAt);
      else if (dueAt !== null && this.#isPast(dueAt.getTime() - this.#settings.announceMs)) {
        await this.#announce(active);
      }
    });
  }

  /** Goes by the claims of the rows first, and proves them before they decide or anything is erased. */
  async retention(name: string, versions: readonly KeyRecord[]): Promise<void> {
    const { policies, retirement } = this.#services;
    const { dryRun, graceMs, now } = this.#settings;
    const { retention = { kind: 'forever' } } = policyOf(policies, name);
    for (const record of versions) {
      if (record.state !== 'deactivated' && record.state !== 'compromised') continue;
      if (now < endOfWait(record.deactivatedAt ?? record.createdAt, graceMs)) continue;
      await this.#noting(name, async () => {
        if (this.#isRetained(retention, record, versions)) return;
        const found = await retirement.find(record.id);
        if (found.state !== record.state) return;
        const proof = await retirement.prove(found);
        const proven = dryRun ? found : await retirement.dated(found, proof);
        // The name, which chose the policy, was a claim, too.
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
    return isRetained(retention, this.#info(record), infos, this.#settings.policyTime);
  }

  /** Leaves out the versions that do not prove themselves, which are among the failures. */
  async #provenOf(name: string, versions: readonly KeyRecord[]): Promise<KeyRecord[]> {
    const { retirement, store, wrapper } = this.#services;
    const proven: KeyRecord[] = [];
    for (const record of await store.findByIds(versions.map(({ id }) => id))) {
      await this.#noting(name, async () => {
        if (record.state !== 'destroyed') {
          requireAuthenticated(record, wrapper.providers.isAuthenticated(record));
          await retirement.prove(record);
        }
        proven.push(record);
      });
    }
    return proven;
  }

  /** Whether a time has come by the clock of the policies. */
  #isPast(time: number): boolean {
    return this.#settings.policyTime.getTime() >= time;
  }

  #info(record: KeyRecord): KeyInfo {
    return keyInfo(record, this.#services.policies);
  }

  async #announce(active: KeyRecord): Promise<void> {
    if (this.#settings.dryRun) {
      this.report.announced.push(this.#info(active));
      return;
    }
    // Under a wrong KEK this process would make a key that no other can read.
    await this.#services.wrapper.unwrapToRead(active);
    const announced = await this.#services.lifecycle.announce(active.name);
    if (announced !== undefined) this.report.announced.push(this.#info(announced.record));
  }

  async #activate(announced: KeyRecord, active: KeyRecord, dueAt: Date | null): Promise<void> {
    const readableAt = announced.createdAt.getTime() + this.#settings.announceMs;
    if (this.#settings.now.getTime() < readableAt) return;
    if (dueAt !== null && !this.#isPast(dueAt.getTime())) return;
    if (this.#settings.dryRun) {
      this.report.activated.push(this.#info(announced));
      return;
    }
    const activated = await this.#services.lifecycle.activate(announced, active);
    if (activated === undefined) return;
    this.#hooks.accept(activated);
    this.report.activated.push(this.#info(activated.record));
  }

  async #destroy(key: KeyInfo): Promise<void> {
    const { graceMs, dryRun, needsApproval } = this.#settings;
    if (dryRun || needsApproval) {
      this.report[needsApproval ? 'awaitingApproval' : 'destroyed'].push(key);
      return;
    }
    const how = { graceMs, evenUnproven: false };
    try {
      const { record } = await destroyKey(this.#services, key.id, how, this.#hooks.rows);
      this.#hooks.forget(key.id);
      this.report.destroyed.push(this.#info(record));
    } catch (error) {
      if (!(error instanceof KeyStateError)) throw error;
      // Another process was first.
      if ((await this.#services.retirement.find(key.id)).state === 'destroyed') return;
      if (!(error instanceof KeyNeededError)) throw error;
      this.report.stillNeeded.push(key);
    }
  }

  /** Notes a failure: it must not keep other names from being maintained. */
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
