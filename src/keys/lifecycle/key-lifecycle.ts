import type { CipherSuite } from '../../crypto/aead';
import { KeyStateError } from '../../errors';
import { IF_IT_GOES_ON } from './key-transition';
import { requireNeverMade } from './first-key';
import type { KeyAudit } from '../audit/key-audit';
import type { KeyEventListener } from '../record/key-event';
import type { KeyPolicies } from '../policy/key-policy';
import { expiryOf, policyOf } from '../policy/key-policy';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { wholeSecond, nameTitle } from '../record/key-record';
import type { StateChange } from '../record/key-macs';
import { provenChange, unprovenChange } from '../record/key-macs';
import type { KeyChange, KeyStore } from '../store/key-store';
import { announcedAfter, isVersionOf, soleActive, noActiveKey } from '../record/key-versions';
import type { CreatedKey, KeyWrapper } from '../wrapping/key-wrapper';
import { nextVersion } from '../wrapping/next-version';
import { isGenuine, proveKek } from '../wrapping/row-proofs';

/** What the lifecycle of keys works with. */
export interface KeyLifecycleParts<C> {
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  /** Undefined where nothing is recorded. */
  readonly audit: KeyAudit<C> | undefined;
  /** Suite of the data keys created from now on. */
  readonly suite: CipherSuite;
  readonly policies: KeyPolicies;
  readonly emit: KeyEventListener;
}

/** The active version of a name, which another is to replace. */
interface ReplaceableKey {
  readonly record: KeyRecord;
  /** What its row says once it is replaced. */
  readonly leaveAt: (now: Date, epoch: number) => StateChange;
  /** See {@link Revocation.isProven}. */
  readonly isProven: boolean;
}

/** The active version that is to be replaced because it is compromised. */
export interface Revocation {
  readonly id: string;
  /** Whether its row proves that this library wrote it. It may be an intruder's, and is to go all the more. */
  readonly isProven: boolean;
}

/** How often an operation looks again after another process changed the rows under it. */
const ATTEMPTS = 5;

/** Creates first keys and replaces active ones, against any number of processes that do the same. */
export class KeyLifecycle<C> {
  readonly #parts: KeyLifecycleParts<C>;

  constructor(parts: KeyLifecycleParts<C>) {
    this.#parts = parts;
  }

  /**
   * Gives the active key of a name that seemed to have none: creates its first version, or takes the
   * one that another process created meanwhile.
   *
   * @throws {@link KeyStateError} where versions exist and none is active. Somebody took the active
   * one out of use; what to put in its place is not for a write to decide. Also, retryable, where the
   * connection is in a transaction. {@link KeyNotFoundError} where there was a key of the name, which
   * the table has no more.
   */
  async createFirst(purpose: KeyPurpose, name: string, connection?: C): Promise<CreatedKey> {
    const { store } = this.#parts;
    const records = await store.list(connection);
    const versions = records.filter(isVersionOf(purpose, name));
    const active = soleActive(versions);
    if (active !== undefined) return this.#existing(active, connection);
    if (versions.length > 0) throw noActiveKey(purpose, name, versions);

    // First, for a lost key is not there the next time either.
    await requireNeverMade(this.#parts, purpose, name, connection);
    store.requireInsertable({ purpose, name }, connection);
    await proveKek(this.#parts.wrapper, records, connection);
    const version = await nextVersion(this.#parts, purpose, name, records, connection);
    const created = await this.#create(purpose, name, version, connection);
    if (await store.insertFirst(created.record, connection)) return this.#announced(created);
    // Not through the caller's connection: its transaction may have begun before the winner's commit.
    const winner = await this.#active(purpose, name);
    return this.#existing(winner, connection);
  }

  /**
   * Replaces the active version of a data key: by the pre-active one that was announced, or by a new
   * one. Of several processes that do so at once, one wins and the others take its key.
   *
   * @param revoked - the one version that may be replaced, for it is compromised; where another is
   * active, that one is given.
   */
  async rotate(name: string, revoked?: Revocation): Promise<CreatedKey> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const records = await this.#parts.store.list();
      const versions = records.filter(isVersionOf('data', name));
      const active = soleActive(versions);
      if (active !== undefined && active.id !== (revoked?.id ?? active.id)) {
        return this.#existing(active);
      }
      if (versions.length === 0) await requireNeverMade(this.#parts, 'data', name);
      if (active === undefined || revoked !== undefined) {
        await proveKek(this.#parts.wrapper, records);
      }
      const replaced = active && (await this.#replaceable(active, revoked));
      const next = await this.#nextKey(name, records, active, revoked);
      if (active === undefined && next.record.state === 'active') {
        if (await this.#parts.store.insertFirst(next.record)) return this.#announced(next);
      } else {
        const activated = await this.#activate(next, replaced);
        if (activated !== undefined) return activated;
      }
      const winner = await this.#active('data', name);
      if (winner.id !== active?.id) return this.#existing(winner);
    }
    throw changedMeanwhile('data', name);
  }

  /**
   * Activates the pre-active version of a name in the place of the active one.
   *
   * @returns undefined when another process changed either of them meanwhile.
   */
  async activate(announced: KeyRecord, active: KeyRecord): Promise<CreatedKey | undefined> {
    const replaced = await this.#replaceable(active);
    return this.#activate(await this.#existing(announced), replaced);
  }

  /**
   * Makes the next version of a key and inserts it pre-active.
   *
   * @returns undefined when another process announced it first.
   */
  async announce(name: string, purpose: KeyPurpose = 'data'): Promise<CreatedKey | undefined> {
    const records = await this.#parts.store.list();
    const version = await nextVersion(this.#parts, purpose, name, records);
    const created = await this.#create(purpose, name, version);
    const change = { state: 'preActive', activatedAt: null, expiresAt: null } as const;
    const { record } = withState(created, change, created.record.epoch);
    if (!(await this.#parts.store.apply([{ type: 'insert', record }]))) return undefined;
    this.#parts.emit({ type: 'keyAnnounced', purpose, keyId: record.id, keyName: name, version });
    return { ...created, record };
  }

  /** The announced version, where there is one after the active one, or a new one. */
  async #nextKey(
    name: string,
    records: readonly KeyRecord[],
    active: KeyRecord | undefined,
    revoked: Revocation | undefined,
  ): Promise<CreatedKey> {
    const announced = announcedAfter(records.filter(isVersionOf('data', name)), active);
    // An intruder's announcement must not keep a compromised key in use.
    const isUsable =
      announced !== undefined &&
      (revoked === undefined || (await isGenuine(this.#parts.wrapper, announced)));
    if (isUsable) return this.#existing(announced);
    return this.#create('data', name, await nextVersion(this.#parts, 'data', name, records));
  }

  async #activate(
    next: CreatedKey,
    replaced: ReplaceableKey | undefined,
  ): Promise<CreatedKey | undefined> {
    const now = wholeSecond(await this.#parts.store.now());
    const epoch = this.#epochFor(replaced === undefined ? [] : [replaced.record]);
    const expiresAt = this.#expiryOf(next.record, now);
    const activated = withState(next, { state: 'active', activatedAt: now, expiresAt }, epoch);
    const { record } = activated;
    const changes: KeyChange[] = [
      ...(replaced === undefined
        ? []
        : [
            {
              type: 'update',
              expected: replaced.record,
              set: replaced.leaveAt(now, epoch),
              isProven: replaced.isProven,
            } as const,
          ]),
      next.record.state === 'preActive'
        ? { type: 'update', expected: next.record, set: record }
        : { type: 'insert', record },
    ];
    if (!(await this.#parts.store.apply(changes))) return undefined;
    return this.#announced(activated, replaced?.record.id);
  }

  /**
   * Prepares the active version for leaving. One that is not compromised is unwrapped, which also
   * proves the KEK before a new key joins the table.
   */
  async #replaceable(record: KeyRecord, revoked?: Revocation): Promise<ReplaceableKey> {
    if (revoked !== undefined) {
      const leaveAt = (now: Date, epoch: number): StateChange =>
        unprovenChange({ state: 'compromised', deactivatedAt: now, compromisedAt: now }, epoch);
      return { record, leaveAt, isProven: revoked.isProven };
    }
    const { authenticateState } = await this.#parts.wrapper.unwrapToRead(record);
    const leaveAt = (now: Date, epoch: number): StateChange =>
      provenChange(authenticateState, record, { state: 'deactivated', deactivatedAt: now }, epoch);
    return { record, leaveAt, isProven: true };
  }

  #epochFor(records: readonly KeyRecord[]): number {
    return this.#parts.wrapper.epochs.next(...records);
  }

  async #create(
    purpose: KeyPurpose,
    name: string,
    version: number,
    heldByCaller?: C,
  ): Promise<CreatedKey> {
    const { policies, store, suite, wrapper } = this.#parts;
    const keySuite = purpose === 'index' ? 'hmac-sha-256' : suite;
    const spec = { name, purpose, version, suite: keySuite } as const;
    const created = await wrapper.create(spec, await store.now(heldByCaller), heldByCaller);
    if (purpose === 'index') return created;
    const policy = policyOf(policies, name);
    const { owner = null, securityLevel = null } = policy;
    const expiresAt = expiryOf(policy, created.record.createdAt);
    const { record, unwrapped } = withState(created, { expiresAt }, created.record.epoch);
    return { record: { ...record, owner, securityLevel }, unwrapped };
  }

  /** Policies are those of data keys: the root of the blind indexes has none. */
  #expiryOf({ purpose, name }: KeyRecord, activatedAt: Date): Date | null {
    return purpose === 'data' ? expiryOf(policyOf(this.#parts.policies, name), activatedAt) : null;
  }

  async #existing(record: KeyRecord, heldByCaller?: C): Promise<CreatedKey> {
    return { record, unwrapped: await this.#parts.wrapper.unwrap(record, heldByCaller) };
  }

  async #active(purpose: KeyPurpose, name: string): Promise<KeyRecord> {
    const active = soleActive(await this.#parts.store.findCurrent(purpose, [name]));
    if (active !== undefined) return active;
    throw changedMeanwhile(purpose, name);
  }

  #announced(created: CreatedKey, previousKeyId?: string): CreatedKey {
    const { id: keyId, name: keyName, purpose, version } = created.record;
    this.#parts.emit(
      previousKeyId === undefined
        ? { type: 'keyCreated', purpose, keyId, keyName, version }
        : { type: 'keyRotated', purpose, keyId, keyName, version, previousKeyId },
    );
    return created;
  }
}

function withState(
  { record, unwrapped }: CreatedKey,
  changes: Omit<StateChange, 'stateMac' | 'epoch'>,
  epoch: number,
): CreatedKey {
  const set = provenChange(unwrapped.authenticateState, record, changes, epoch);
  return { record: { ...record, ...set }, unwrapped };
}

function changedMeanwhile(purpose: KeyPurpose, name: string): KeyStateError {
  return new KeyStateError(
    `${nameTitle(purpose, name)} was changed by another process and now has no active version. Try again. ${IF_IT_GOES_ON}`,
    { retryable: true },
  );
}
