import type { Ed25519Key } from '../../crypto/ed25519';
import { ConfigurationError, KeyNotFoundError, KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import { leftWithoutActive, retryConflicts } from '../lifecycle/compare-and-swap';
import { requireNeverMade } from '../lifecycle/first-key';
import { provenChange } from '../record/key-macs';
import type { StateAuthenticator } from '../record/key-macs';
import { keyTitle, wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { isVersionOf, soleActive } from '../record/key-versions';
import type { KeyChange } from '../store/key-store';
import { nextVersion } from '../wrapping/next-version';
import { proveKek } from '../wrapping/row-proofs';

import { statementOf } from './key-change';
import type { PublicKeyVersion } from './key-change';
import { historyOf, isCompromised, provenKeys } from './key-history';
import type { HistoryStep, ProvenKey } from './key-history';
import type { SigningKeyRow, SigningKeyStore } from './signing-key-store';
import { soundlyDestroyed } from './soundly-destroyed';

/** The names of signing keys: that of reports signs nothing else. */
export const SIGNING_KEY_NAMES = ['reports', 'documents'] as const;
export type SigningKeyName = (typeof SIGNING_KEY_NAMES)[number];

/** A signing key that was loaded for one call. */
interface OpenedKey {
  readonly record: KeyRecord;
  readonly key: Ed25519Key;
  readonly authenticate: StateAuthenticator;
}

/**
 * The keys that sign. They are in the key table, with a purpose of their own, so that they are wrapped, rewrapped and
 * backed up like the others. One is made at its first use, loaded only to sign, and not kept in memory.
 */
export class SigningKeys<C> {
  readonly #services: KeyServices<C>;
  readonly #rows: SigningKeyStore<C>;

  /** @throws {@link ConfigurationError} for a key manager that has no table of public keys */
  constructor(services: KeyServices<C>) {
    if (services.signing === undefined) throw new ConfigurationError('There are no signing keys.');
    this.#services = services;
    this.#rows = services.signing;
  }

  /**
   * Signs bytes with the active version of a key.
   *
   * @throws {@link ConfigurationError} without the tables, {@link KeyStateError} without an active version,
   * {@link KmsUnavailableError}
   */
  async sign(
    name: SigningKeyName,
    data: Uint8Array,
  ): Promise<{ readonly keyId: string; readonly signature: Uint8Array }> {
    const { record, key } = await this.#active(name);
    return { keyId: record.id, signature: key.sign(data) };
  }

  /**
   * Replaces the active version of a key. Both vouch for each other; a version that was revoked vouches for none.
   *
   * @throws what {@link SigningKeys.sign} throws
   */
  async rotate(name: SigningKeyName): Promise<KeyRecord> {
    await this.#services.table.requireReady();
    const attempt = async (): Promise<KeyRecord | undefined> => {
      const records = await this.#services.store.list();
      const versions = records.filter(isVersionOf('signing', name));
      const active = soleActive(versions);
      if (versions.length === 0) await requireNeverMade(this.#services, 'signing', name);
      const previous = active && (await this.#open(active));
      return (await this.#make(name, records, previous))?.record;
    };
    return retryConflicts(attempt, () => leftWithoutActive('signing', name));
  }

  /** Returns the versions of a key whose public half is proven, the oldest first. */
  async proven(name: SigningKeyName): Promise<ProvenKey[]> {
    return this.#proven(name, await this.#rows.list(name));
  }

  async #proven(name: SigningKeyName, rows: readonly SigningKeyRow[]): Promise<ProvenKey[]> {
    await this.#services.table.requireReady();
    const versions = (await this.#services.store.list()).filter(isVersionOf('signing', name));
    const destroyed = versions.filter(({ state }) => state === 'destroyed');
    const sound = destroyed.length === 0 ? undefined : await soundlyDestroyed(this.#services.audit);
    const believed = versions.filter((key) => !destroyed.includes(key) || sound?.has(key.id));
    const open = async (record: KeyRecord): Promise<Uint8Array> =>
      (await this.#open(record)).key.publicKey;
    return provenKeys(this.#subject(name), believed, rows, open);
  }

  /** Returns how the active version of a key came to be, from the oldest one that leads to it. Makes the first one. */
  async history(name: SigningKeyName): Promise<HistoryStep[]> {
    const { record } = await this.#active(name);
    const rows = await this.#rows.list(name);
    const proven = await this.#proven(name, rows);
    const known = proven.filter(({ version }) => version <= record.version);
    return historyOf(this.#subject(name), known, rows);
  }

  /**
   * Returns the public half of a version, to verify with.
   *
   * @throws {@link KeyNotFoundError}; {@link KeyStateError} for one that was compromised, and for a destroyed one that
   * no newer version vouches for
   */
  async publicKeyOf(name: SigningKeyName, id: string): Promise<Uint8Array> {
    await this.#services.table.requireReady();
    const [record] = await this.#services.store.findByIds([id]);
    if (record === undefined || !isVersionOf('signing', name)(record)) throw unknownKey(id);
    if (isCompromised(record)) throw compromised(record);
    if (record.state !== 'destroyed') return (await this.#open(record)).key.publicKey;
    const found = (await this.proven(name)).find((key) => key.id === id);
    if (found === undefined) throw unproven(record);
    return found.publicKey;
  }

  #subject(name: SigningKeyName): { readonly application: string; readonly name: string } {
    return { application: this.#services.application, name };
  }

  async #active(name: SigningKeyName): Promise<OpenedKey> {
    const { store, table } = this.#services;
    await table.requireReady();
    const active = soleActive(await store.findCurrent('signing', [name]));
    if (active !== undefined) return this.#open(active);
    const records = await store.list();
    if (records.some(isVersionOf('signing', name))) throw noActiveVersion(name);
    await requireNeverMade(this.#services, 'signing', name);
    const made = await this.#make(name, records);
    if (made !== undefined) return made;
    const winner = soleActive(await store.findCurrent('signing', [name]));
    if (winner === undefined) throw leftWithoutActive('signing', name);
    return this.#open(winner);
  }

  async #open(record: KeyRecord): Promise<OpenedKey> {
    const { authenticateState, ...opened } = await this.#services.wrapper.unwrap(record);
    if (opened.purpose === 'signing') {
      return { record, key: opened.key, authenticate: authenticateState };
    }
    throw new TypeError(`key ${record.id} does not sign`);
  }

  /** Makes the next version. Returns undefined where another process was first. */
  async #make(
    name: SigningKeyName,
    records: readonly KeyRecord[],
    previous?: OpenedKey,
  ): Promise<OpenedKey | undefined> {
    const { emit, store, wrapper } = this.#services;
    await this.#rows.require();
    if (previous === undefined) await proveKek(wrapper, records);
    const version = await nextVersion(this.#services, 'signing', name, records);
    const now = await store.now();
    const spec = { name, purpose: 'signing', version, suite: 'ed25519' } as const;
    const { record, unwrapped } = await wrapper.create(spec, now);
    if (unwrapped.purpose !== 'signing') throw new TypeError('the new key is of another purpose');
    const made = { record, key: unwrapped.key, authenticate: unwrapped.authenticateState };
    const row = this.#rowOf(made, previous);
    const confirm = async (connection: C): Promise<boolean> => {
      await this.#rows.insert(row, connection);
      return true;
    };
    const isDone =
      previous === undefined
        ? await store.insertFirst(record, undefined, confirm)
        : await store.apply(await this.#replacing(previous, record), confirm);
    if (!isDone) return undefined;
    const event = { purpose: 'signing', keyId: record.id, keyName: name, version } as const;
    if (previous === undefined) emit({ type: 'keyCreated', ...event });
    else emit({ type: 'keyRotated', ...event, previousKeyId: previous.record.id });
    return made;
  }

  async #replacing({ record, authenticate }: OpenedKey, next: KeyRecord): Promise<KeyChange[]> {
    const deactivatedAt = wholeSecond(await this.#services.store.now());
    const change = { state: 'deactivated', deactivatedAt } as const;
    const epoch = this.#services.wrapper.epochs.next(record);
    const set = provenChange(authenticate, record, change, epoch);
    return [
      { type: 'update', expected: record, set },
      { type: 'insert', record: next },
    ];
  }

  #rowOf(made: OpenedKey, previous: OpenedKey | undefined): SigningKeyRow {
    const { id: keyId, name, version } = made.record;
    const row = { keyId, name, version, publicKey: made.key.publicKey };
    if (previous === undefined) {
      return { ...row, signedByPrevious: new Uint8Array(), signsPrevious: new Uint8Array() };
    }
    const { application } = this.#services;
    const change = { previous: publicHalf(previous), next: publicHalf(made) };
    const statement = statementOf({ application, name, ...change });
    return {
      ...row,
      signedByPrevious: previous.key.sign(statement),
      signsPrevious: made.key.sign(statement),
    };
  }
}

function publicHalf({ record: { id, version }, key: { publicKey } }: OpenedKey): PublicKeyVersion {
  return { id, version, publicKey };
}

function noActiveVersion(name: SigningKeyName): KeyStateError {
  return new KeyStateError(
    `No version of the signing key "${name}" is active: nothing can be signed with it. ` +
      `Run: field-encryption keys rotate --signing ${name}`,
  );
}

function unknownKey(id: string): KeyNotFoundError {
  return new KeyNotFoundError(
    `The key table has no signing key ${id} for this: the signature is of another database or application, or the ` +
      'row is lost. Restore it from a backup (`field-encryption keys restore <file>`).',
    { keyId: id },
  );
}

function compromised(record: KeyRecord): KeyStateError {
  return new KeyStateError(
    `${keyTitle(record)} was compromised: somebody else may have made the signature, and it proves nothing. ` +
      'Sign the document again, if a copy from before is there.',
    { keyId: record.id },
  );
}

function unproven(record: KeyRecord): KeyStateError {
  return new KeyStateError(
    `${keyTitle(record)} is destroyed, and no newer version and no unbroken audit log vouch for its public key. Verify with the public key ` +
      'as it was exported (`field-encryption keys public`) before that.',
    { keyId: record.id },
  );
}
