import type { CipherSuite } from '../../crypto/aead';
import { expiryOf, policyOf } from '../policy/key-policy';
import type { KeyPolicies } from '../policy/key-policy';
import type { KeyEventListener } from '../record/key-event';
import { provenChange, unprovenChange } from '../record/key-macs';
import type { StateChange } from '../record/key-macs';
import { wholeSecond } from '../record/key-record';
import type { KeyPurpose, KeyRecord } from '../record/key-record';
import { announcedAfter, isVersionOf, noActiveKey, soleActive } from '../record/key-versions';
import type { KeyChange } from '../store/key-store';
import type { CreatedKey } from '../wrapping/key-wrapper';
import { nextVersion } from '../wrapping/next-version';
import { isGenuine, proveKek } from '../wrapping/row-proofs';

import { leftWithoutActive, retryConflicts } from './compare-and-swap';
import { requireNeverMade } from './first-key';
import type { FirstKeyParts } from './first-key';

/** The parts that the lifecycle of keys works with. */
interface KeyLifecycleParts<C> extends FirstKeyParts<C> {
  /** Suite of the data keys created from now on. */
  readonly suite: CipherSuite;
  readonly policies: KeyPolicies;
  readonly emit: KeyEventListener;
}

/** The active version of a name, which another is to replace. */
interface ReplaceableKey {
  readonly record: KeyRecord;
  /** The change of its row when it is replaced. */
  readonly changeAt: (now: Date, epoch: number) => KeyChange;
}

/** The active version that is to be replaced because it is compromised. */
interface Revocation {
  readonly id: string;
  /** Whether its row proves that this library wrote it. An intruder's is all the more to be replaced. */
  readonly isProven: boolean;
}

/** The creation and replacement of active keys, by any number of processes at once. */
export class KeyLifecycle<C> {
  readonly #parts: KeyLifecycleParts<C>;

  constructor(parts: KeyLifecycleParts<C>) {
    this.#parts = parts;
  }

  /**
   * Returns the active key of a name that seemed to have none: creates its first version, or takes the
   * one that another process created meanwhile.
   *
   * @throws {@link KeyStateError} where versions exist and none is active: an operator took the active
   * one out of use, and a write must not decide what replaces it. Also, retryable, where the connection
   * is in a transaction. {@link KeyNotFoundError} where the name had a key that is missing from the table.
   */
  async createFirst(purpose: KeyPurpose, name: string, connection?: C): Promise<CreatedKey> {
    const { store } = this.#parts;
    const records = await store.list(connection);
    const versions = records.filter(isVersionOf(purpose, name));
    const active = soleActive(versions);
    if (active !== undefined) return this.#existing(active, connection);
    if (versions.length > 0) throw noActiveKey(purpose, name, versions);

    // First, for a lost key will not be there on a retry either.
    await requireNeverMade(this.#parts, purpose, name, connection);
    store.requireInsertable({ purpose, name }, connection);
    await proveKek(this.#parts.wrapper, records, connection);
    const version = await nextVersion(this.#parts, purpose, name, records, connection);
    const created = await this.#create(purpose, name, version, connection);
    if (await store.insertFirst(created.record, connection)) return this.#emitActivation(created);
    // Not through the caller's connection: its transaction may have begun before the winner's commit.
    return this.#existing(await this.#active(purpose, name), connection);
  }

  /**
   * Replaces the active version of a data key: by the pre-active one that was announced, or by a new
   * one. Of several processes that do so at once, one wins and the others take its key.
   *
   * @param revoked - the one version that may be replaced, being compromised; where another is active,
   * that one is returned.
   */
  rotate(name: string, revoked?: Revocation): Promise<CreatedKey> {
    return retryConflicts(
      () => this.#tryToRotate(name, revoked),
      () => leftWithoutActive('data', name),
    );
  }

  async #tryToRotate(name: string, revoked?: Revocation): Promise<CreatedKey | undefined> {
    const { store, wrapper } = this.#parts;
    const records = await store.list();
    const versions = records.filter(isVersionOf('data', name));
    const active = soleActive(versions);
    if (active !== undefined && active.id !== (revoked?.id ?? active.id)) {
      return this.#existing(active);
    }
    if (versions.length === 0) await requireNeverMade(this.#parts, 'data', name);
    if (active === undefined || revoked !== undefined) await proveKek(wrapper, records);
    const replaced = active && (await this.#replaceable(active, revoked));
    const next = await this.#nextKey(name, records, active, revoked);
    if (active === undefined && next.record.state === 'active') {
      if (await store.insertFirst(next.record)) return this.#emitActivation(next);
    } else {
      const activated = await this.#activate(next, replaced);
      if (activated !== undefined) return activated;
    }
    const winner = await this.#active('data', name);
    return winner.id === active?.id ? undefined : this.#existing(winner);
  }

  /**
   * Activates the pre-active version of a name in place of the active one.
   *
   * @returns undefined when another process changed either of them meanwhile.
   */
  async activate(announced: KeyRecord, active: KeyRecord): Promise<CreatedKey | undefined> {
    const replaced = await this.#replaceable(active);
    return this.#activate(await this.#existing(announced), replaced);
  }

  /**
   * Creates the next version of a key and inserts it pre-active.
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

  /** Returns the version announced after the active one, or a new one. */
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
    const leaving = replaced === undefined ? [] : [replaced.record];
    const epoch = this.#parts.wrapper.epochs.next(...leaving);
    const expiresAt = this.#expiryOf(next.record, now);
    const activated = withState(next, { state: 'active', activatedAt: now, expiresAt }, epoch);
    const { record } = activated;
    const arrival: KeyChange =
      next.record.state === 'preActive'
        ? { type: 'update', expected: next.record, set: record }
        : { type: 'insert', record };
    const changes = replaced === undefined ? [arrival] : [replaced.changeAt(now, epoch), arrival];
    if (!(await this.#parts.store.apply(changes))) return undefined;
    return this.#emitActivation(activated, replaced?.record.id);
  }

  /**
   * Prepares the change of the active version that is replaced. One that is not compromised is
   * unwrapped, which also proves the KEK before a new key joins the table.
   */
  async #replaceable(record: KeyRecord, revoked?: Revocation): Promise<ReplaceableKey> {
    const update = {
      type: 'update',
      expected: record,
      isProven: revoked?.isProven ?? true,
    } as const;
    if (revoked !== undefined) {
      const changeAt = (now: Date, epoch: number): KeyChange => {
        const dates = { deactivatedAt: now, compromisedAt: now };
        return { ...update, set: unprovenChange({ state: 'compromised', ...dates }, epoch) };
      };
      return { record, changeAt };
    }
    const { authenticateState } = await this.#parts.wrapper.unwrapToRead(record);
    const changeAt = (now: Date, epoch: number): KeyChange => {
      const change = { state: 'deactivated', deactivatedAt: now } as const;
      return { ...update, set: provenChange(authenticateState, record, change, epoch) };
    };
    return { record, changeAt };
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

  /** Only data keys have policies: the root of the blind indexes has none. */
  #expiryOf({ purpose, name }: KeyRecord, activatedAt: Date): Date | null {
    return purpose === 'data' ? expiryOf(policyOf(this.#parts.policies, name), activatedAt) : null;
  }

  async #existing(record: KeyRecord, heldByCaller?: C): Promise<CreatedKey> {
    return { record, unwrapped: await this.#parts.wrapper.unwrap(record, heldByCaller) };
  }

  async #active(purpose: KeyPurpose, name: string): Promise<KeyRecord> {
    const active = soleActive(await this.#parts.store.findCurrent(purpose, [name]));
    if (active !== undefined) return active;
    throw leftWithoutActive(purpose, name);
  }

  #emitActivation(created: CreatedKey, previousKeyId?: string): CreatedKey {
    const { id: keyId, name: keyName, purpose, version } = created.record;
    const key = { purpose, keyId, keyName, version };
    if (previousKeyId === undefined) this.#parts.emit({ type: 'keyCreated', ...key });
    else this.#parts.emit({ type: 'keyRotated', ...key, previousKeyId });
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
