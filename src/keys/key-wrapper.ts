import { randomFillSync } from 'node:crypto';

import { AEAD_KEY_BYTES } from '../crypto/aead';
import { wipe } from '../crypto/wipe';
import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../errors';
import { newDataKeyId } from '../format/data-key-id';
import type { KeyBinding, KmsProvider, WrappedKey } from '../kms/kms-provider';
import type { KeyRecord } from './key-record';
import { hasValidRecordMac, keyRecordMac } from './key-record-mac';
import { SingleFlight } from './single-flight';
import type { UnwrappedKey } from './unwrapped-key';
import { importKey, requireKnownSuite } from './unwrapped-key';

const MAX_KEK_CHARS = 512;
const MAX_WRAPPED_BYTES = 4096;

/** A key that was just made: its record, not yet in any table, and the key for use once it is. */
export interface CreatedKey {
  readonly record: KeyRecord;
  readonly unwrapped: UnwrappedKey;
}

/** Makes and unwraps keys: the one place where their bytes are in the open, and where they are wiped. */
export class KeyWrapper {
  readonly #kms: KmsProvider;
  readonly #application: string;
  readonly #wallClock: () => Date;
  readonly #unwraps = new SingleFlight<UnwrappedKey>();

  constructor(kms: KmsProvider, application: string, wallClock = () => new Date()) {
    this.#kms = kms;
    this.#application = application;
    this.#wallClock = wallClock;
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
      const binding = this.#binding({ ...spec, id });
      const wrapped = await this.#ask(id, () => this.#kms.wrapKey(bytes, binding));
      const record = this.#newRecord({ ...spec, id }, this.#checked(wrapped), bytes);
      return { record, unwrapped: await this.unwrap(record) };
    } finally {
      wipe(bytes);
    }
  }

  /**
   * Unwraps a key and checks that its record is the one it was wrapped with. Callers that want the
   * same key at once share one request to the KMS.
   *
   * @throws {@link KeyUnwrapError}, {@link UnsupportedCipherSuiteError}, {@link KmsUnavailableError}
   */
  unwrap(record: KeyRecord): Promise<UnwrappedKey> {
    return this.#unwraps.run(record.id, () => this.#unwrapAlone(record));
  }

  /** Lets later callers make their own requests. */
  forgetRequests(): void {
    this.#unwraps.clear();
  }

  async #unwrapAlone(record: KeyRecord): Promise<UnwrappedKey> {
    requireKnownSuite(record);
    const wrapped = { kek: record.kek, wrapped: record.wrapped };
    const bytes = await this.#ask(record.id, () =>
      this.#kms.unwrapKey(wrapped, this.#binding(record)),
    ).catch((error: unknown) => this.#rethrowNaming(record, error));
    try {
      this.#requireWhole(record, bytes);
      return importKey(record, bytes);
    } finally {
      wipe(bytes);
    }
  }

  #binding(key: Pick<KeyRecord, 'id' | 'name' | 'purpose'>): KeyBinding {
    return {
      application: this.#application,
      keyId: key.id,
      keyName: key.name,
      purpose: key.purpose,
    };
  }

  #newRecord(
    spec: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version' | 'suite'>,
    wrapped: WrappedKey,
    bytes: Uint8Array,
  ): KeyRecord {
    const createdAt = new Date(Math.floor(this.#wallClock().getTime() / 1000) * 1000);
    const fields = { ...spec, kms: this.#kms.name, kek: wrapped.kek, createdAt };
    return {
      ...fields,
      state: 'active',
      wrapped: wrapped.wrapped,
      recordMac: keyRecordMac(bytes, fields, this.#application),
      activatedAt: createdAt,
      deactivatedAt: null,
      compromisedAt: null,
      destroyedAt: null,
      expiresAt: null,
      owner: null,
      securityLevel: null,
    };
  }

  /** Runs a provider; what it throws that is not of this library counts as an outage. */
  async #ask<T>(keyId: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof FieldEncryptionError) throw error;
      throw new KmsUnavailableError(
        `kms "${this.#kms.name}" failed on data key ${keyId}; see the cause`,
        { keyId, cause: error },
      );
    }
  }

  #checked({ kek, wrapped }: WrappedKey): WrappedKey {
    const fits =
      kek.length > 0 &&
      kek.length <= MAX_KEK_CHARS &&
      wrapped.length > 0 &&
      wrapped.length <= MAX_WRAPPED_BYTES;
    if (!fits) {
      throw new ConfigurationError(
        `kms "${this.#kms.name}" answered with ${String(kek.length)} characters of KEK name and ` +
          `${String(wrapped.length)} wrapped bytes; want 1 to ${String(MAX_KEK_CHARS)} and ` +
          `1 to ${String(MAX_WRAPPED_BYTES)}.`,
      );
    }
    return { kek, wrapped: Uint8Array.from(wrapped) };
  }

  #requireWhole(record: KeyRecord, bytes: Uint8Array): void {
    if (bytes.length !== AEAD_KEY_BYTES) {
      throw new KeyUnwrapError(
        `${describe(record)} unwrapped to ${String(bytes.length)} bytes, want ` +
          `${String(AEAD_KEY_BYTES)}. Check the KMS that answers for "${this.#kms.name}".`,
        { keyId: record.id },
      );
    }
    if (hasValidRecordMac(bytes, record, this.#application)) return;
    throw new KeyUnwrapError(
      `${describe(record)}: the key record was edited or swapped, or belongs to another ` +
        'application. Restore the row from a backup.',
      { keyId: record.id },
    );
  }

  #rethrowNaming(record: KeyRecord, error: unknown): never {
    if (!(error instanceof KeyUnwrapError)) throw error;
    throw new KeyUnwrapError(
      `${describe(record)} does not unwrap: ${error.message}${this.#otherProviderHint(record)} ` +
        'Check the settings of the KMS and `application`, or restore the row from a backup.',
      { keyId: record.id, cause: error },
    );
  }

  #otherProviderHint(record: KeyRecord): string {
    if (record.kms === this.#kms.name) return '';
    return ` It was wrapped by kms "${record.kms}", and this process asks "${this.#kms.name}".`;
  }
}

function describe(record: KeyRecord): string {
  return `key ${record.id} ("${record.name}" version ${String(record.version)})`;
}
