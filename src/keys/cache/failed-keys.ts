import {
  ConfigurationError,
  FieldEncryptionError,
  KeyStateError,
  KmsUnavailableError,
} from '../../errors';
import type { KeyEvent } from '../record/key-event';
import type { KeyPurpose } from '../record/key-record';
import { StillLoadingError } from '../wrapping/kms-client';

/** Returns a typed error for whatever kept a key from being loaded. */
export function typedFailure(keyLabel: string, failure: unknown): FieldEncryptionError {
  if (failure instanceof FieldEncryptionError) return failure;
  return new KmsUnavailableError(`${keyLabel} could not be loaded; see the cause`, {
    cause: failure,
  });
}

/** For a key that was in memory and has reached its maximum age. */
export function notConfirmedInTime(keyLabel: string, maxAgeMs: number): KmsUnavailableError {
  return new KmsUnavailableError(
    `${keyLabel} was not confirmed by the KMS for ${String(maxAgeMs)} ms (keyCache.maxAgeMs) and ` +
      'is not used until it is.',
  );
}

/** For a transaction so old that the keys it sees may be out of use by now. */
export function oldTransaction(maxAgeMs: number): KeyStateError {
  return new KeyStateError(
    `The transaction is older than ${String(maxAgeMs)} ms (keyCache.maxAgeMs) and sees the key table as it was ` +
      'at its beginning, so that no key can be confirmed in it. Begin it again.',
    { retryable: true },
  );
}

/** For a statement whose key was too old by the time the statement could be sent. */
export function waitedTooLong(keyId: string, maxAgeMs: number): KeyStateError {
  return new KeyStateError(
    `key ${keyId} was confirmed over ${String(maxAgeMs)} ms ago (keyCache.maxAgeMs) when a statement made with it ` +
      'was to be sent, for the statement had waited for a connection or its process had been stopped. ' +
      'It was not sent. Try again.',
    { keyId, retryable: true },
  );
}

/** For a key that was still loading when its manager was closed. */
export function closedMeanwhile(): ConfigurationError {
  return new ConfigurationError(
    'field encryption was shut down while keys were loading; initialize the DataSource again',
  );
}

/** The event that reports a failure. */
export function loadFailed(
  purpose: KeyPurpose,
  key: { readonly id?: string; readonly name?: string },
  failure: unknown,
): KeyEvent {
  return {
    type: 'keyLoadFailed',
    purpose,
    keyId: key.id,
    keyName: key.name,
    code: failure instanceof FieldEncryptionError ? failure.code : undefined,
  };
}

interface FailedKey {
  readonly error: unknown;
  readonly at: number;
}

/** How long a key that failed is not asked for again, whatever the reason. */
const RETRY_AFTER_MS = 1000;
/** Bounded, since prefixes come from rows, which anybody may have written. */
const MAX_REMEMBERED = 4096;

/** Reasons why keys could not be loaded, kept for the synchronous side to throw. */
export class FailedKeys {
  readonly #byKey = new Map<string, FailedKey>();

  remember(key: string, error: unknown, now: number): void {
    this.#byKey.delete(key);
    this.#byKey.set(key, { error, at: now });
    for (const oldest of this.#byKey.keys()) {
      if (this.#byKey.size <= MAX_REMEMBERED) return;
      this.#byKey.delete(oldest);
    }
  }

  /** Runs work on some keys, and remembers its failure for each of them. */
  async noting(
    keys: readonly string[],
    clock: () => number,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (failure) {
      for (const key of keys) this.remember(key, failure, clock());
      throw failure;
    }
  }

  /** The last failure; undefined if there was none. */
  error(key: string): unknown {
    return this.#byKey.get(key)?.error;
  }

  /** Whether a key failed a moment ago, so that asking again would only give the same answer. */
  hasJustFailed(key: string, now: number): boolean {
    const failed = this.#byKey.get(key);
    if (failed === undefined || failed.error instanceof StillLoadingError) return false;
    return now - failed.at < RETRY_AFTER_MS;
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }

  clear(): void {
    this.#byKey.clear();
  }
}
