import { randomFillSync } from 'node:crypto';

import { SingleFlight } from '../../async/single-flight';
import { waitBriefly } from '../../async/time-limit';
import { AEAD_KEY_BYTES } from '../../crypto/aead';
import type { NonceMode } from '../../crypto/aead';
import { equalInConstantTime, wipe } from '../../crypto/secret-bytes';
import { KeyUnwrapError } from '../../errors';
import { newDataKeyId } from '../../format/data-key-id';
import type { KmsProvider } from '../../kms/kms-provider';
import { keyRecordMac, requireProvenState, stateAuthenticator } from '../record/key-macs';
import { keyTitle, wholeSecond } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import { KeyEpochs } from '../store/key-epochs';
import type { UseCounter } from '../store/key-uses';

import { notWhileHeld } from './kms-client';
import type { KmsClient } from './kms-client';
import { KmsProviders } from './kms-providers';
import type { OpenedKey } from './kms-providers';
import { importKey, requireAuthenticated, requireKnownSuite } from './unwrapped-key';
import type { UnwrappedKey } from './unwrapped-key';

/** A key that was just made: its record, not yet in any table, and the key for use once it is. */
export interface CreatedKey {
  readonly record: KeyRecord;
  readonly unwrapped: UnwrappedKey;
}

/** The specification of a new key. */
type NewKey = Pick<KeyRecord, 'name' | 'purpose' | 'version' | 'suite'>;
type IdentifiedKey = NewKey & Pick<KeyRecord, 'id' | 'createdAt'>;

/** The fields of a record that a rewrap changes. */
export type Wrapping = Pick<KeyRecord, 'kms' | 'kek' | 'wrapped' | 'recordMac' | 'application'>;

/** Options of a {@link KeyWrapper}. */
export interface KeyWrapperOptions {
  /** Providers that unwrap the keys they have wrapped, beside the one that wraps. Defaults to none. */
  readonly others?: readonly KmsProvider[] | undefined;
  /** Returns the counter of a key's uses. Defaults to one that nobody reads. */
  readonly counterOf?: ((keyId: string) => UseCounter) | undefined;
  /** Milliseconds for which a caller that holds a connection waits. Defaults to 3,000. */
  readonly heldWaitMs?: number | undefined;
  /** How data keys draw their nonces. Defaults to {@link defaultNonces}. */
  readonly nonces?: NonceMode | undefined;
  /** What the keys belong to, for the messages about calls. Defaults to nothing that is known. */
  readonly source?: object | undefined;
}

/** A record without the fields that come of wrapping its key. */
type UnwrappedRecord = Omit<KeyRecord, keyof Wrapping | 'stateMac' | 'epoch'>;

/** Creates and unwraps keys: the place where their bytes are in the open, and are wiped. */
export class KeyWrapper {
  readonly providers: KmsProviders;
  /** Remembers the rows whose keys pass through here. */
  readonly epochs = new KeyEpochs();
  readonly #application: string;
  readonly #counterOf: (keyId: string) => UseCounter;
  readonly #heldWaitMs: number;
  readonly #nonces: NonceMode | undefined;
  readonly #unwraps = new SingleFlight<UnwrappedKey>();

  constructor(kms: KmsProvider, application: string, options: KeyWrapperOptions = {}) {
    const { others = [], source = this, heldWaitMs = 3_000 } = options;
    this.providers = new KmsProviders(kms, { application, source, others, heldWaitMs });
    this.#application = application;
    this.#counterOf = options.counterOf ?? (() => ({ pending: 0 }));
    this.#heldWaitMs = heldWaitMs;
    this.#nonces = options.nonces;
  }

  /**
   * Creates a random key, wraps it, and unwraps it again to prove that it can be read back before
   * anything depends on it.
   *
   * @param now - the time by the clock of the key table, which dates the record.
   * @param heldByCaller - the caller's connection, if it holds one; it then waits only briefly.
   */
  create(spec: NewKey, now: Date, heldByCaller?: unknown): Promise<CreatedKey> {
    return this.whileHeld(heldByCaller, this.#create(spec, now), []);
  }

  /**
   * Waits for work on some keys: briefly where the caller holds a connection, counted from the start of
   * the requests that it shares with others. The work goes on.
   *
   * @throws {@link StillLoadingError}, and what the work throws
   */
  whileHeld<T>(heldByCaller: unknown, work: Promise<T>, records: readonly KeyRecord[]): Promise<T> {
    if (heldByCaller === undefined) return work;
    const age = Math.max(0, ...records.map((record) => this.#unwraps.age(identityOf(record))));
    const waitMs = Math.max(0, this.#heldWaitMs - age);
    return waitBriefly(work, waitMs, () => notWhileHeld(records, this.#heldWaitMs));
  }

  async #create(spec: NewKey, now: Date): Promise<CreatedKey> {
    const id = newDataKeyId();
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
    try {
      const createdAt = wholeSecond(now);
      const record = await this.#newRecord({ ...spec, id, createdAt }, bytes);
      // No newer row of it can have been seen: it is not in the table yet.
      return { record, unwrapped: await this.unwrapOfAnyAge(record) };
    } finally {
      wipe(bytes);
    }
  }

  /**
   * Unwraps a key to protect something with it.
   *
   * @param heldByCaller - as for {@link KeyWrapper.create}.
   * @throws what {@link KeyWrapper.unwrapToRead} throws, and {@link UnauthenticatedKeyError} for a key
   * that could have been made without the KMS
   */
  async unwrap(record: KeyRecord, heldByCaller?: unknown): Promise<UnwrappedKey> {
    const unwrapped = await this.unwrapToRead(record, heldByCaller);
    requireAuthenticated(record, unwrapped.isAuthenticated);
    return unwrapped;
  }

  /**
   * Unwraps a key to decrypt with it, or to change its state, and checks that its record is the one it
   * was wrapped with. Concurrent callers share one request to the KMS for a key.
   *
   * @param heldByCaller - as for {@link KeyWrapper.create}.
   * @throws {@link KeyUnwrapError}, {@link UnsupportedCipherSuiteError}, {@link KmsUnavailableError},
   * {@link KeyStateError} for a state that was edited in the table, and for an older row that was put back
   */
  async unwrapToRead(record: KeyRecord, heldByCaller?: unknown): Promise<UnwrappedKey> {
    const unwrapped = await this.unwrapOfAnyAge(record, heldByCaller);
    this.#noteAge(record, unwrapped);
    return unwrapped;
  }

  /** {@link KeyWrapper.unwrapToRead} for a row that may be an older one. Never to protect anything. */
  async unwrapOfAnyAge(record: KeyRecord, heldByCaller?: unknown): Promise<UnwrappedKey> {
    const asking = this.#unwraps.run(identityOf(record), () => this.#ask(record));
    const unwrapped = await this.whileHeld(heldByCaller, asking, [record]);
    // Each of those that share a request may have read another state.
    requireProvenState(record, unwrapped.authenticateState);
    return unwrapped;
  }

  /** Unwraps a key, lends its bytes, and wipes them. Throws what {@link KeyWrapper.unwrap} does. */
  withKeyBytes<T>(record: KeyRecord, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    return this.#lend(record, (opened) => {
      requireAuthenticated(record, opened.isAuthenticated);
      return use(opened.bytes);
    });
  }

  /** {@link KeyWrapper.withKeyBytes} also for a key that could have been made without the KMS. */
  withBytesToAdopt<T>(record: KeyRecord, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    return this.#lend(record, ({ bytes }) => use(bytes));
  }

  /**
   * Wraps a key with a provider, and unwraps it again to prove that the provider returns it.
   *
   * @throws {@link KeyUnwrapError} when it does not, {@link KmsUnavailableError}
   */
  async wrapWith(client: KmsClient, key: UnwrappedRecord, bytes: Uint8Array): Promise<Wrapping> {
    const wrapping = await this.#wrap(client, key, bytes);
    const proof = await client.unwrap({ ...key, ...wrapping });
    try {
      if (equalInConstantTime(proof, bytes)) return wrapping;
    } finally {
      wipe(proof);
    }
    throw new KeyUnwrapError(`kms "${client.name}" gave another key back than ${keyTitle(key)}.`, {
      keyId: key.id,
    });
  }

  /** Lets later callers make their own requests. */
  forgetRequests(): void {
    this.#unwraps.clear();
  }

  /** A made-up key can prove any epoch with its own bytes. Such a row must not move the clock. */
  #noteAge(
    record: KeyRecord,
    key: Pick<UnwrappedKey, 'authenticateState' | 'isAuthenticated'>,
  ): void {
    if (key.isAuthenticated) this.epochs.accept(record, key.authenticateState);
  }

  async #ask(record: KeyRecord): Promise<UnwrappedKey> {
    requireKnownSuite(record);
    const uses = this.#counterOf(record.id);
    const opened = await this.providers.unwrap(record);
    try {
      return importKey(record, opened, { uses, nonces: this.#nonces });
    } finally {
      wipe(opened.bytes);
    }
  }

  async #lend<T>(record: KeyRecord, use: (opened: OpenedKey) => Promise<T>): Promise<T> {
    const opened = await this.providers.unwrap(record);
    try {
      const authenticateState = stateAuthenticator(opened.bytes);
      requireProvenState(record, authenticateState);
      this.#noteAge(record, { ...opened, authenticateState });
      return await use(opened);
    } finally {
      wipe(opened.bytes);
    }
  }

  async #wrap(client: KmsClient, key: IdentifiedKey, bytes: Uint8Array): Promise<Wrapping> {
    const { kek, wrapped } = await client.wrap(key, bytes);
    const fields = { ...key, kms: client.name, kek };
    const recordMac = keyRecordMac(bytes, fields, this.#application);
    return { kms: client.name, kek, wrapped, recordMac, application: this.#application };
  }

  async #newRecord(spec: IdentifiedKey, bytes: Uint8Array): Promise<KeyRecord> {
    const wrapping = await this.#wrap(this.providers.wrapperOf(spec.name), spec, bytes);
    const state = {
      state: 'active' as const,
      activatedAt: spec.createdAt,
      ...{ deactivatedAt: null, compromisedAt: null, destroyedAt: null, expiresAt: null },
      epoch: this.epochs.next(),
    };
    return {
      ...spec,
      ...wrapping,
      ...state,
      stateMac: stateAuthenticator(bytes)({ id: spec.id, ...wrapping, ...state }),
      owner: null,
      securityLevel: null,
      useCount: 0,
    };
  }
}

/** All of a record but its state: another row of the same id may be forged. */
function identityOf(record: KeyRecord): string {
  const { id, name, application, purpose, version, suite, kms, kek, createdAt } = record;
  const [wrapped, recordMac] = [record.wrapped, record.recordMac].map((bytes) =>
    Buffer.from(bytes).toString('base64'),
  );
  const fields = { id, name, application, purpose, version, suite, kms, kek, createdAt };
  return JSON.stringify({ ...fields, wrapped, recordMac });
}
