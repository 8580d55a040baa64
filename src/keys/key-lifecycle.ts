import type { CipherSuite } from '../crypto/aead';
import { KeyStateError } from '../errors';
import type { KeyEventListener } from './key-event';
import type { KeyPurpose, KeyRecord } from './key-record';
import type { KeyStore } from './key-store';
import type { CreatedKey, KeyWrapper } from './key-wrapper';

/** What the lifecycle of keys works with. */
export interface KeyLifecycleParts<C> {
  readonly store: KeyStore<C>;
  readonly wrapper: KeyWrapper;
  /** Suite of the data keys created from now on. */
  readonly suite: CipherSuite;
  readonly emit: KeyEventListener;
}

/** Creates first keys and replaces active ones, against any number of processes that do the same. */
export class KeyLifecycle<C> {
  readonly #store: KeyStore<C>;
  readonly #wrapper: KeyWrapper;
  readonly #suite: CipherSuite;
  readonly #emit: KeyEventListener;

  constructor({ store, wrapper, suite, emit }: KeyLifecycleParts<C>) {
    this.#store = store;
    this.#wrapper = wrapper;
    this.#suite = suite;
    this.#emit = emit;
  }

  /**
   * Gives the active key of a name that seemed to have none: creates version 1, or takes the one
   * that another process created meanwhile.
   *
   * @throws {@link KeyStateError} where versions exist and none is active. Somebody took the active
   * one out of use; what to put in its place is not for a write to decide.
   */
  async createFirst(purpose: KeyPurpose, name: string, connection?: C): Promise<CreatedKey> {
    const records = await this.#store.list(connection);
    const versions = records.filter(isVersionOf(purpose, name));
    const active = soleActive(versions);
    if (active !== undefined) return this.#existing(active);
    if (versions.length > 0) throw noneActive(name, versions.length);

    await this.#proveKek(records);
    const created = await this.#create(purpose, name, 1);
    if (await this.#store.insertFirst(created.record, connection)) return this.#announced(created);
    // Not through the caller's connection: its transaction may have begun before the winner's commit.
    return this.#winner(purpose, name);
  }

  /**
   * Replaces the active version of a data key by a new one. Of several processes that do so at
   * once, one wins and the others take its key.
   */
  async rotate(name: string): Promise<CreatedKey> {
    const records = await this.#store.list();
    const versions = records.filter(isVersionOf('data', name));
    const active = soleActive(versions);
    await this.#proveKek(active === undefined ? records : [active]);

    const version = 1 + Math.max(0, ...versions.map((record) => record.version));
    const next = await this.#create('data', name, version);
    if (active === undefined) {
      const inserted = await this.#store.insertFirst(next.record);
      return inserted ? this.#announced(next) : this.#winner('data', name);
    }
    const replaced = await this.#store.replaceActive(active.id, next.record);
    return replaced ? this.#announced(next, active.id) : this.#winner('data', name);
  }

  /**
   * Unwraps one key of the table before a new one joins it: under a wrong passphrase or KEK this
   * process would make a key that no other can read.
   */
  async #proveKek(records: readonly KeyRecord[]): Promise<void> {
    const known = records.find((record) => record.state === 'active');
    if (known !== undefined) await this.#wrapper.unwrap(known);
  }

  #create(purpose: KeyPurpose, name: string, version: number): Promise<CreatedKey> {
    const suite = purpose === 'index' ? 'hmac-sha-256' : this.#suite;
    return this.#wrapper.create({ name, purpose, version, suite });
  }

  async #existing(record: KeyRecord): Promise<CreatedKey> {
    return { record, unwrapped: await this.#wrapper.unwrap(record) };
  }

  async #winner(purpose: KeyPurpose, name: string): Promise<CreatedKey> {
    const winner = soleActive(await this.#store.findActive(purpose, [name]));
    if (winner !== undefined) return this.#existing(winner);
    throw new KeyStateError(
      `key "${name}" was changed by another process and now has no active version. Try again.`,
      { retryable: true },
    );
  }

  #announced(created: CreatedKey, previousKeyId?: string): CreatedKey {
    const { id: keyId, name: keyName, purpose, version } = created.record;
    this.#emit(
      previousKeyId === undefined
        ? { type: 'keyCreated', purpose, keyId, keyName, version }
        : { type: 'keyRotated', keyId, keyName, version, previousKeyId },
    );
    return created;
  }
}

/**
 * Picks the one active record of a name.
 *
 * @throws {@link KeyStateError} where there are several: which of them is meant, and for an index
 * which of them the stored tokens come from, cannot be known.
 */
export function soleActive(records: readonly KeyRecord[]): KeyRecord | undefined {
  const [first, second] = records.filter((record) => record.state === 'active');
  if (first === undefined || second === undefined) return first;
  throw new KeyStateError(
    `key "${first.name}": versions ${String(first.version)} and ${String(second.version)} are ` +
      'both active. Deactivate one of them in the key table, and restore its unique index.',
    { keyId: second.id },
  );
}

function isVersionOf(purpose: KeyPurpose, name: string): (record: KeyRecord) => boolean {
  return (record) => record.purpose === purpose && record.name === name;
}

function noneActive(name: string, versions: number): KeyStateError {
  return new KeyStateError(
    `key "${name}": none of its ${String(versions)} versions is active, nothing can be encrypted ` +
      'with it. Rotate the key, or restore its active row.',
  );
}
