import { KeyStateError, KmsUnavailableError } from '../../errors';
import type { Scope } from '../record/scope';

/** A scope has no key, and none was to be created: nothing was written for it yet. */
export class NoScopeKeyError extends KmsUnavailableError {
  override readonly name = 'KmsUnavailableError';
}

/** Returns the error of a scope for which no value was written yet. */
export function noScopeKey({ kind }: Scope): NoScopeKeyError {
  return new NoScopeKeyError(
    `the ${kind} has no keys yet, and has them once a value is written for it.`,
  );
}

/** Returns the error of a key that was not prepared, or too long ago. */
export function notReady({ kind }: Scope): KmsUnavailableError {
  return new KmsUnavailableError(
    `the key of a ${kind} is not in memory, or was not confirmed in time (keyCache.maxAgeMs). Try again.`,
  );
}

/** Returns the error of a scope that an operator names and that has no keys. */
export function unknownScope({ kind }: Pick<Scope, 'kind'>): KeyStateError {
  return new KeyStateError(
    `The ${kind} has no keys, and nothing was done for it. Check the spelling of its id, and its kind.`,
  );
}
