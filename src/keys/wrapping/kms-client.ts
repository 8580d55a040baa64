import { isUint8Array } from 'node:util/types';

import { AEAD_KEY_BYTES } from '../../crypto/aead';
import { wipe } from '../../crypto/secret-bytes';
import {
  ConfigurationError,
  FieldEncryptionError,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../errors';
import { isAuthenticated } from '../../kms/kms-provider';
import type { KeyBinding, KmsProvider, WrappedKey } from '../../kms/kms-provider';
import { channels } from '../../telemetry/channels';
import type { KmsMessage } from '../../telemetry/channels';
import { hasValidRecordMac } from '../record/key-macs';
import { aboutUnreadable, keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';

/** The KMS is slow, and the caller must not hold its connection any longer. Others go on waiting. */
export class StillLoadingError extends KmsUnavailableError {
  override readonly name = 'KmsUnavailableError';
}

/** For a caller whose connection others may be waiting for. */
export function notWhileHeld(
  keys: readonly Pick<KeyRecord, 'id' | 'name'>[],
  limitMs: number,
): StillLoadingError {
  const labels = keys.slice(0, 3).map(({ id, name }) => `${id} ("${name}")`);
  return new StillLoadingError(
    `${labels.length === 0 ? 'a key' : `key ${labels.join(', ')}`} is not in memory, and the KMS has not given it within ${String(limitMs)} ms ` +
      '(keyCache.transactionWaitMs), for which a transaction waits. It goes on loading: try again.',
  );
}

/** How many keys one process unwraps at the KMS at a time: rows under 50 keys wait for two round trips. */
export const CONCURRENT_UNWRAPS = 32;
/** The same for operations on all keys, which leave the KMS to others. */
export const CONCURRENT_PROOFS = 4;

const MAX_KEK_CHARS = 512;
const MAX_WRAPPED_BYTES = 4096;

/** The fields of a record that a wrapped key is bound to. */
export type BoundFields = Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'version'>;

/** The fields of a record that unwrapping needs. */
export type UnwrappableRecord = Omit<KeyRecord, 'stateMac' | 'epoch'>;

/** A KMS provider with its answers checked and its errors typed. */
export class KmsClient {
  readonly kms: KmsProvider;
  readonly #application: string;
  readonly #source: object;

  /** @param source - what the keys belong to, for the messages about calls. */
  constructor(kms: KmsProvider, application: string, source: object) {
    this.kms = kms;
    this.#application = application;
    this.#source = source;
  }

  get name(): string {
    return this.kms.name;
  }

  /** @throws {@link KmsUnavailableError}, {@link ConfigurationError} for an answer that cannot be stored */
  async wrap(key: BoundFields, bytes: Uint8Array): Promise<WrappedKey> {
    const answer = await this.#ask(key, 'wrap', async () =>
      wrappedIn(await this.kms.wrapKey(bytes, this.#binding(key))),
    );
    return this.#checked(answer);
  }

  /**
   * Returns the key bytes of a record, proven to be those its MAC was made with. The caller wipes them.
   *
   * @throws {@link KeyUnwrapError}, {@link KmsUnavailableError}
   */
  async unwrap(record: UnwrappableRecord): Promise<Uint8Array> {
    this.#requireApplication(record);
    const wrapped = { kek: record.kek, wrapped: record.wrapped };
    const bytes = await this.#ask(record, 'unwrap', async () =>
      bytesIn(await this.kms.unwrapKey(wrapped, this.#binding(record))),
    ).catch((error: unknown) => this.#rethrowNaming(record, error));
    try {
      this.#requireWhole(record, bytes);
      return bytes;
    } catch (error) {
      wipe(bytes);
      throw error;
    }
  }

  /** Whether this record, provided that it unwraps, can only have been made with the KMS. */
  isAuthenticated({ kek, wrapped }: WrappedKey): boolean {
    return isAuthenticated(this.kms, { kek, wrapped });
  }

  /** Whether the KMS says that it is healthy. */
  async isHealthy(): Promise<boolean> {
    try {
      return (await this.request(() => this.kms.health())).ok;
    } catch {
      return false;
    }
  }

  /** Makes a request to the KMS. */
  protected request<T>(call: () => Promise<T>): Promise<T> {
    return call();
  }

  /** Called before the KMS, whose refusal could not say why. */
  #requireApplication(record: UnwrappableRecord): void {
    const { application } = record;
    if (application === null || application === this.#application) return;
    throw new KeyUnwrapError(
      `${keyTitle(record)} was made for the application "${application}", and this process is ` +
        `"${this.#application}". Set \`application\` to the name that it was made under; keys are not shared ` +
        'between applications.',
      { keyId: record.id },
    );
  }

  #binding(key: BoundFields): KeyBinding {
    return {
      application: this.#application,
      keyId: key.id,
      keyName: key.name,
      purpose: key.purpose,
    };
  }

  /** Calls a provider. An error that is not of this library counts as an outage. */
  #ask<T>(
    key: BoundFields,
    operation: KmsMessage['operation'],
    call: () => Promise<T>,
  ): Promise<T> {
    const asked = async (): Promise<T> => {
      try {
        return await this.request(call);
      } catch (error) {
        if (error instanceof FieldEncryptionError) throw error;
        throw new KmsUnavailableError(
          `kms "${this.name}" failed on ${keyTitle(key)}; see the cause`,
          { keyId: key.id, cause: error },
        );
      }
    };
    const message = { source: this.#source, provider: this.name, operation };
    return channels.kms.tracePromise(asked, message);
  }

  #checked({ kek, wrapped }: WrappedKey): WrappedKey {
    const fits =
      kek.length > 0 &&
      kek.length <= MAX_KEK_CHARS &&
      wrapped.length > 0 &&
      wrapped.length <= MAX_WRAPPED_BYTES;
    if (!fits) {
      throw new ConfigurationError(
        `kms "${this.name}" answered with ${String(kek.length)} characters of KEK name and ` +
          `${String(wrapped.length)} wrapped bytes; want 1 to ${String(MAX_KEK_CHARS)} and ` +
          `1 to ${String(MAX_WRAPPED_BYTES)}.`,
      );
    }
    if (!this.isAuthenticated({ kek, wrapped })) {
      throw new ConfigurationError(
        `kms "${this.name}" wrapped a key without proof that it did: anybody with its public key could ` +
          'have. Set the provider up to sign what it wraps, or use a symmetric KEK.',
      );
    }
    return { kek, wrapped: Uint8Array.from(wrapped) };
  }

  #requireWhole(record: UnwrappableRecord, bytes: Uint8Array): void {
    if (bytes.length !== AEAD_KEY_BYTES) {
      throw new KeyUnwrapError(
        `${keyTitle(record)} unwrapped to ${String(bytes.length)} bytes, want ` +
          `${String(AEAD_KEY_BYTES)}. Check the KMS that answers for "${this.name}".`,
        { keyId: record.id },
      );
    }
    if (hasValidRecordMac(bytes, record, this.#application)) return;
    throw new KeyUnwrapError(
      `${keyTitle(record)}: the key record was edited or swapped, or belongs to another ` +
        `application.${aboutUnreadable(record)} Restore the row from a backup.`,
      { keyId: record.id },
    );
  }

  /** Names the key: the provider may fail on a single row, which has to be found. */
  #rethrowNaming(record: UnwrappableRecord, error: unknown): never {
    const details = { keyId: record.id, cause: error };
    if (error instanceof KmsUnavailableError && error.keyId !== record.id) {
      throw new KmsUnavailableError(
        `${keyTitle(record)} was not unwrapped: ${error.message}`,
        details,
      );
    }
    if (error instanceof ConfigurationError) {
      throw new ConfigurationError(
        `${keyTitle(record)} does not unwrap: ${error.message}`,
        details,
      );
    }
    if (!(error instanceof KeyUnwrapError)) throw error;
    throw new KeyUnwrapError(
      `${keyTitle(record)} does not unwrap: ${error.message}${this.#otherProviderHint(record)}${aboutUnreadable(record)} ` +
        'Check the settings of the KMS and `application`, or restore the row from a backup.',
      details,
    );
  }

  #otherProviderHint(record: UnwrappableRecord): string {
    if (record.kms === this.name) return '';
    return (
      ` It was wrapped by kms "${record.kms}", and this process asks "${this.name}";` +
      ' `otherKms` takes further providers.'
    );
  }
}

/** Providers may be of the application's own making, and return anything. Such an answer counts as none. */
function bytesIn(answer: unknown): Uint8Array {
  if (isUint8Array(answer)) return answer;
  throw new TypeError('it returned no Uint8Array');
}

function wrappedIn(answer: unknown): WrappedKey {
  const { kek, wrapped } = (answer ?? {}) as { readonly [K in keyof WrappedKey]?: unknown };
  if (typeof kek === 'string') return { kek, wrapped: bytesIn(wrapped) };
  throw new TypeError('it returned no name of a KEK');
}
