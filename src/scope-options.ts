import { UnsupportedValueError } from './errors';
import type { ReplayTrust } from './keys/scopes/erasure/erasure-replay';
import type { ErasureOptions } from './keys/scopes/erasure/scope-erasure';
import type { ALL_SCOPES, ScopeIds } from './keys/scopes/scope-context';

/** Options of {@link ScopeKeys.shred}. */
export interface ShredOptions extends ErasureOptions {
  /** The scope: `{ tenant: 42 }`, or its id alone where there is one kind. */
  readonly scope: ScopeIds;
  /** Milliseconds to wait for open transactions on encrypted tables. Defaults to 30,000. */
  readonly waitMs?: number | undefined;
}

/** Options of {@link ScopeKeys.replayShred}. */
export interface ReplayOptions extends Pick<ShredOptions, 'waitMs'>, ReplayTrust {}

/** Options of {@link ScopeKeys.rotateScopes}. */
export interface RotateScopesOptions {
  /** The scopes, or {@link ALL_SCOPES}. Defaults to all of `kind`. */
  readonly scopes?: readonly ScopeIds[] | typeof ALL_SCOPES | undefined;
  /** Instead of `scopes`: all of this kind. */
  readonly kind?: string | undefined;
  /** Leaves alone keys that have been active for fewer days, by the time of the policies. Defaults to 0. */
  readonly olderThanDays?: number | undefined;
  /** Counts the scopes that are due and changes nothing. Defaults to `false`. */
  readonly dryRun?: boolean | undefined;
}

/** A scope and why something is done with it. */
export interface ScopeReason {
  readonly scope: ScopeIds;
  /** For the audit log; 1 to 64 characters, without personal data. */
  readonly reason: string;
}

/** Returns the error of options that name no scopes, or them twice. */
export function namesNoScopes(): UnsupportedValueError {
  return new UnsupportedValueError(
    'Say which scopes get new keys: `scopes`, a list of them or ALL_SCOPES, or else `kind`.',
  );
}
