import { randomFillSync } from 'node:crypto';

import { settleAll } from '../../async/settle-all';
import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import { FieldEncryptionError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import type { KmsProvider } from '../../kms/kms-provider';
import type { KeyServices } from '../key-services';
import { provenChange, requireProvenState, stateAuthenticator } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import type { KeyRecord } from '../record/key-record';
import { isOwnBranchName } from '../record/scope';
import type { Wrapping } from '../wrapping/key-wrapper';
import { CONCURRENT_PROOFS } from '../wrapping/kms-client';
import type { KmsClient } from '../wrapping/kms-client';
import { requireAuthenticated } from '../wrapping/unwrapped-key';

/** Options of a rewrap. */
export interface RewrapOptions {
  /** The provider to move to. Defaults to the one that wraps already, for its newest KEK version. */
  to?: KmsProvider;
  /**
   * Wraps keys again that name the newest KEK already: for a KMS that rotates its KEK without
   * renaming it. Defaults to `false`.
   */
  force?: boolean;
  /** Reports what would change and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** A key that could not be wrapped again, and stays as it was. */
export interface RewrapFailure {
  readonly keyId: string;
  readonly name: string;
  readonly version: number;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** The result of a rewrap. Data keys of every state and the index root are counted; destroyed ones are not. */
export interface RewrapReport {
  /** Provider and KEK that the keys are under now. */
  readonly kms: string;
  readonly kek: string;
  readonly scanned: number;
  /** Keys wrapped again (in a dry run: that would be). */
  readonly rewrapped: number;
  /** Keys that were under it already. */
  readonly current: number;
  /** Keys that another process changed meanwhile; run again. */
  readonly conflicts: number;
  /** Keys of scopes with a KMS of their own, which no other wraps. They are in no other count. */
  readonly ofScopes: number;
  /** Keys that failed, and such of scopes as no provider of this process opens any more. */
  readonly failures: readonly RewrapFailure[];
}

/** A key that is proven to unwrap under the new KEK. */
interface ProvenKey {
  readonly record: KeyRecord;
  readonly wrapping: Wrapping;
  readonly authenticate: StateAuthenticator;
}

type Services<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'emit'>;

/**
 * Wraps every key again. First all keys are wrapped and unwrapped under the new KEK, then each row is
 * swapped if it is unchanged: until the last key has been tried, no old wrapping is gone. If interrupted, it
 * leaves rows under either KEK, all readable, and can be run again. Once all keys have moved, this process
 * wraps with the new provider.
 *
 * @throws {@link KmsUnavailableError}; a key that fails by itself is in the report instead
 */
export async function rewrap<C>(
  services: Services<C>,
  { to, force = false, dryRun = false }: RewrapOptions,
): Promise<RewrapReport> {
  const { providers } = services.wrapper;
  // Before the first row changes, so that this process can read keys under either KEK.
  const target = to === undefined ? providers.primary : providers.include(to);
  const existing = (await services.store.list()).filter(({ state }) => state !== 'destroyed');
  // The branch of a scope with a KMS of its own is never wrapped by another.
  const records = existing.filter(({ name }) => !isOwnBranchName(name));
  const run = new RewrapRun(services, target);
  await run.findOpened(records);
  const { kek } = await newestKek(target);
  const due = records.filter((record) => force || !run.isUnder(record, kek));
  const possible = dryRun ? run.authenticated(due) : due;
  await run.prove(dryRun ? [] : possible);
  await run.swap();
  if (run.conflicts + run.failures.length === 0 && !dryRun) providers.promote(target);
  return {
    kms: target.name,
    kek,
    scanned: records.length,
    rewrapped: dryRun ? possible.length : run.rewrapped,
    current: records.length - due.length + run.overtaken,
    conflicts: run.conflicts,
    ofScopes: existing.length - records.length,
    failures: run.failures,
  };
}

class RewrapRun<C> {
  readonly #services: Services<C>;
  readonly #target: KmsClient;
  /** Ids of keys that the target opens as they are. */
  readonly #opened = new Set<string>();
  readonly #proven: ProvenKey[] = [];
  readonly failures: RewrapFailure[] = [];
  rewrapped = 0;
  conflicts = 0;
  /** Keys that another process wrapped first. */
  overtaken = 0;

  constructor(services: Services<C>, target: KmsClient) {
    this.#services = services;
    this.#target = target;
  }

  /**
   * Finds the keys that the target opens already. A name is not enough, since two passphrases have
   * the same; and a local KMS that has opened one key wraps others under the same KEK.
   */
  async findOpened(records: readonly KeyRecord[]): Promise<void> {
    const candidates = records.filter(({ kms }) => kms === this.#target.name);
    await settleAll(candidates, 1, async (record) => {
      if (await this.#opens(record)) this.#opened.add(record.id);
    });
  }

  isUnder(record: KeyRecord, kek: string): boolean {
    return record.kek === kek && this.#opened.has(record.id);
  }

  /** Leaves out the keys that {@link RewrapRun.prove} would refuse: a rewrap would make them look like the rest. */
  authenticated(records: readonly KeyRecord[]): readonly KeyRecord[] {
    const { providers } = this.#services.wrapper;
    return records.filter((record) => {
      try {
        requireAuthenticated(record, providers.isAuthenticated(record));
        return true;
      } catch (error) {
        this.#noteFailure(record, error);
        return false;
      }
    });
  }

  async prove(records: readonly KeyRecord[]): Promise<void> {
    await settleAll(records, CONCURRENT_PROOFS, async (record) => {
      try {
        const { wrapper } = this.#services;
        const proven = await wrapper.withKeyBytes(record, async (bytes) => ({
          record,
          wrapping: await wrapper.wrapWith(this.#target, record, bytes),
          authenticate: stateAuthenticator(bytes),
        }));
        this.#proven.push(proven);
      } catch (error) {
        this.#noteFailure(record, error);
      }
    });
  }

  async swap(): Promise<void> {
    for (const key of this.#proven) {
      const { record } = key;
      if (await this.#swapOne(key)) this.#noteRewrapped(record);
      else if (await this.#hasMoved(record.id)) this.overtaken += 1;
      else this.conflicts += 1;
    }
  }

  /** Whether another process that does the same was faster. */
  async #hasMoved(id: string): Promise<boolean> {
    const [now] = await this.#services.store.findByIds([id]);
    if (now === undefined || now.state === 'destroyed') return true;
    return now.kms === this.#target.name && (await this.#opens(now));
  }

  /** Ignores why a key does not open, which {@link RewrapRun.prove} notes: one bad row holds up no other. */
  async #opens(record: KeyRecord): Promise<boolean> {
    if (!this.#target.isAuthenticated(record)) return false;
    try {
      wipe(await this.#target.unwrap(record));
      return true;
    } catch (error) {
      if (error instanceof FieldEncryptionError) return false;
      throw error;
    }
  }

  /** A change of state meanwhile is no conflict: it left the wrapped key alone. */
  async #swapOne(key: ProvenKey): Promise<boolean> {
    const { store } = this.#services;
    const { record } = key;
    if (await this.#swapRow(record, key)) return true;
    const [now] = await store.findByIds([record.id]);
    if (now === undefined || !Buffer.from(now.wrapped).equals(record.wrapped)) return false;
    return this.#swapRow(now, key);
  }

  /** Refuses an older row that was put back meanwhile: it must not become a new one. */
  async #swapRow(expected: KeyRecord, { wrapping, authenticate }: ProvenKey): Promise<boolean> {
    const { store, wrapper } = this.#services;
    requireProvenState(expected, authenticate);
    wrapper.epochs.accept(expected, authenticate);
    const proof = provenChange(
      authenticate,
      { ...expected, ...wrapping },
      {},
      wrapper.epochs.next(),
    );
    return store.apply([{ type: 'update', expected, set: { ...wrapping, ...proof } }]);
  }

  #noteRewrapped({ id: keyId, name: keyName, version }: KeyRecord): void {
    this.rewrapped += 1;
    this.#services.emit({ type: 'keyRewrapped', keyId, keyName, version, kms: this.#target.name });
  }

  #noteFailure({ id, name, version }: KeyRecord, error: unknown): void {
    if (!(error instanceof FieldEncryptionError)) throw error;
    const { code, message } = error;
    this.failures.push({ keyId: id, name, version, code, message });
  }
}

/** Returns a provider, and its name for its newest KEK, learnt by wrapping bytes that are no key. */
export async function newestKek(target: KmsClient): Promise<Pick<KeyRecord, 'kms' | 'kek'>> {
  const probe = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
  const nothing = { id: '0000000000000000', name: 'probe', purpose: 'data' as const, version: 0 };
  return { kms: target.name, kek: (await target.wrap(nothing, probe)).kek };
}
