import {
  ConfigurationError,
  FieldEncryptionError,
  KeyStateError,
  KmsUnavailableError,
} from '../../errors';
import type { KeyEvent } from '../record/key-event';
import type { KeyPurpose } from '../record/key-record';
import { StillLoadingError } from '../wrapping/kms-client';

/** Makes a typed error of whatever kept a key from being loaded. */
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

/** For a transaction that began so long ago that the keys it sees may be out of use by now. */
export function oldTransaction(maxAgeMs: number): KeyStateError {
  return new KeyStateError(
    `The transaction is older than ${String(maxAgeMs)} ms (keyCache.maxAgeMs) and sees the key table as it was ` +
      'at its beginning, so that no key can be confirmed in it. Begin it again.',
    { retryable: true },
  );
}

/** For a statement that was made with a key, and could be sent only when the key was out of date. */
export function waitedTooLong(keyId: string, maxAgeMs: number): KeyStateError {
  return new KeyStateError(
    `key ${keyId} was confirmed over ${String(maxAgeMs)} ms ago (keyCache.maxAgeMs) when a statement made with it ` +
      'was to be sent, for the statement had waited for a connection or its process had been stopped. ' +
      'It was not sent. Try again.',
    { keyId, retryable: true },
  );
}

/** For what was still loading when its manager was closed. */
export function closedMeanwhile(): ConfigurationError {
  return new ConfigurationError(
    'field encryption was shut down while keys were loading; initialize the DataSource again',
  );
}

/** The event that tells of a failure. */
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

/** How long a key that could not be had is not asked for again, whatever the reason. */
const SETTLED_MS = 1000;
/** Prefixes come from rows, which anybody may have written: what is remembered of them is bounded. */
const MAX_REMEMBERED = 4096;

/** Remembers why keys could not be loaded, so that the synchronous side can say it. */
export class FailedKeys {
  readonly #byPrefix = new Map<string, FailedKey>();

  remember(prefix: string, error: unknown, now: number): void {
    this.#byPrefix.delete(prefix);
    this.#byPrefix.set(prefix, { error, at: now });
    for (const oldest of this.#byPrefix.keys()) {
      if (this.#byPrefix.size <= MAX_REMEMBERED) return;
      this.#byPrefix.delete(oldest);
    }
  }

  /** The last failure; undefined when there was none. */
  error(prefix: string): unknown {
    return this.#byPrefix.get(prefix)?.error;
  }

  /** Whether it failed a moment ago: asking again now would only give the same answer. */
  isSettled(prefix: string, now: number): boolean {
    const failed = this.#byPrefix.get(prefix);
    if (failed === undefined || failed.error instanceof StillLoadingError) return false;
    return now - failed.at < SETTLED_MS;
  }

  forget(prefix: string): void {
    this.#byPrefix.delete(prefix);
  }

  clear(): void {
    this.#byPrefix.clear();
  }
}
