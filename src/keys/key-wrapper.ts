import { randomFillSync } from 'node:crypto';

import type { NonceMode } from '../crypto/aead';
import { AEAD_KEY_BYTES } from '../crypto/aead';
import { equalInConstantTime } from '../crypto/constant-time';
import { wipe } from '../crypto/wipe';
import { KeyUnwrapError } from '../errors';
import { newDataKeyId } from '../format/data-key-id';
import type { KmsProvider } from '../kms/kms-provider';
import type { KeyRecord } from './key-record';
import { keyRecordMac } from './key-record-mac';
import { requireProvenState, stateAuthenticator } from './key-state-mac';
import type { UseCounter } from './key-uses';
import type { KmsClient } from './kms-client';
import { KmsProviders } from './kms-providers';
import { SingleFlight } from './single-flight';
import type { UnwrappedKey } from './unwrapped-key';
import { importKey, requireKnownSuite } from './unwrapped-key';

/** A key that was just made: its record, not yet in any table, and the key for use once it is. */
export interface CreatedKey {
  readonly record: KeyRecord;
  readonly unwrapped: UnwrappedKey;
}

/** What a rewrap changes of a record. */
export type Wrapping = Pick<KeyRecord, 'kms' | 'kek' | 'wrapped' | 'recordMac'>;

/** How a {@link KeyWrapper} differs from the usual. */
export interface KeyWrapperOptions {
  /** Providers that unwrap what they have wrapped, beside the one that wraps. Defaults to none. */
  readonly others?: readonly KmsProvider[] | undefined;
  /** Dates the records. Defaults to the system's time. */
  readonly wallClock?: (() => Date) | undefined;
  /** The counter that a key is used with. Defaults to one that nobody reads. */
  readonly counterOf?: ((keyId: string) => UseCounter) | undefined;
  /** How data keys draw their nonces. Defaults to `'random'`. */
  readonly nonces?: NonceMode | undefined;
}

/** Makes and unwraps keys: where their bytes are in the open, and where they are wiped. */
export class KeyWrapper {
  readonly providers: KmsProviders;
  readonly #application: string;
  readonly #wallClock: () => Date;
  readonly #counterOf: (keyId: string) => UseCounter;
  readonly #nonces: NonceMode;
  readonly #unwraps = new SingleFlight<UnwrappedKey>();

  constructor(kms: KmsProvider, application: string, options: KeyWrapperOptions = {}) {
    this.providers = new KmsProviders(kms, options.others ?? [], application);
    this.#application = application;
    this.#wallClock = options.wallClock ?? (() => new Date());
    this.#counterOf = options.counterOf ?? (() => ({ pending: 0 }));
    this.#nonces = options.nonces ?? 'random';
  }

  /**
   * Makes a random key, wraps it, and unwraps it again to prove that it can be read back before
   * anything depends on it.
   */
  async create(
    spec: Pick<KeyRecord, 'name' | 'purpose' | 'version' | 'suite'>,
  ): Promise<CreatedKey> {
    const id = newDataKeyId();
    const bytes = randomFillSync(Buffer.allocUnsafeSlow(AEAD_KEY_BYTES));
    try {
      const record = await this.#newRecord({ ...spec, id }, bytes);
      return { record, unwrapped: await this.unwrap(record) };
    } finally {
      wipe(bytes);
    }
  }

  /**
   * Unwraps a key and checks that its record is the one it was wrapped with. Callers that want the
   * same key at once share one request to the KMS.
   *
   * @throws {@link KeyUnwrapError}, {@link UnsupportedCipherSuiteError}, {@link KmsUnavailableError},
   * {@link KeyStateError} for a state that was edited in the table
   */
  async unwrap(record: KeyRecord): Promise<UnwrappedKey> {
    const unwrapped = await this.#unwraps.run(record.id, async () => {
      requireKnownSuite(record);
      const uses = this.#counterOf(record.id);
      const bytes = await this.providers.unwrap(record);
      try {
        return importKey(record, bytes, { uses, nonces: this.#nonces });
      } finally {
        wipe(bytes);
      }
    });
    // Of those who share a request, each may have read another row.
    requireProvenState(record, unwrapped.authenticateState);
    return unwrapped;
  }

  /** Unwraps a key, lends its bytes, and wipes them. Throws what {@link KeyWrapper.unwrap} does. */
  async withKeyBytes<T>(record: KeyRecord, use: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    const bytes = await this.providers.unwrap(record);
    try {
      requireProvenState(record, stateAuthenticator(bytes));
      return await use(bytes);
    } finally {
      wipe(bytes);
    }
  }

  /**
   * Wraps a key with a provider, and unwraps it again to prove that the provider gives it back.
   *
   * @throws {@link KeyUnwrapError} when it does not, {@link KmsUnavailableError}
   */
  async wrapWith(
    client: KmsClient,
    key: Omit<KeyRecord, keyof Wrapping>,
    bytes: Uint8Array,
  ): Promise<Wrapping> {
    const wrapping = await this.#wrap(client, key, bytes);
    const proof = await client.unwrap({ ...key, ...wrapping });
    try {
      if (equalInConstantTime(proof, bytes)) return wrapping;
    } finally {
      wipe(proof);
    }
    throw new KeyUnwrapError(`kms "${client.name}" gave another key back than ${key.id}.`, {
      keyId: key.id,
    });
  }

  /** Lets later callers make their own requests. */
  forgetRequests(): void {
    this.#unwraps.clear();
  }

  async #wrap(
    client: KmsClient,
    key: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'suite' | 'createdAt'>,
    bytes: Uint8Array,
  ): Promise<Wrapping> {
    const { kek, wrapped } = await client.wrap(key, bytes);
    const fields = { ...key, kms: client.name, kek };
    const recordMac = keyRecordMac(bytes, fields, this.#application);
    return { kms: client.name, kek, wrapped, recordMac };
  }

  async #newRecord(
    spec: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'suite'>,
    bytes: Uint8Array,
  ): Promise<KeyRecord> {
    const createdAt = new Date(Math.floor(this.#wallClock().getTime() / 1000) * 1000);
    const wrapping = await this.#wrap(this.providers.primary, { ...spec, createdAt }, bytes);
    const state = {
      state: 'active' as const,
      activatedAt: createdAt,
      deactivatedAt: null,
      compromisedAt: null,
      destroyedAt: null,
      expiresAt: null,
    };
    return {
      ...spec,
      ...wrapping,
      ...state,
      stateMac: stateAuthenticator(bytes)({ id: spec.id, ...state }),
      createdAt,
      owner: null,
      securityLevel: null,
      useCount: 0,
    };
  }
}
