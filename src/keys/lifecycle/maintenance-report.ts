import type { FieldEncryptionErrorCode } from '../../errors';
import type { KeyInfo } from '../record/key-info';

/** Options of `maintain()`. */
export interface MaintenanceOptions {
  /**
   * Milliseconds from announcing a version to writing with it, in which every process loads it. At
   * least `keyCache.ttlMs`. Defaults to twice that. By the clock of the database.
   */
  announceMs?: number;
  /**
   * Milliseconds after its deactivation in which a key is not destroyed, since a process may still
   * write with it. Defaults to `keyCache.maxAgeMs`. By the clock of the database, and 31 seconds longer.
   */
  graceMs?: number;
  /**
   * Milliseconds to wait, before a key is destroyed, for open transactions that may have written with it.
   * Defaults to 30,000. If they take longer, the key is among the failures.
   */
  waitMs?: number;
  /** Reports what would change and changes nothing. Defaults to `false`. */
  dryRun?: boolean;
}

/** {@link MaintenanceOptions}, and whether a key is only listed because its destruction needs approval. */
export interface ApprovedMaintenance extends MaintenanceOptions {
  readonly needsApproval?: boolean;
}

/** A step of `maintain()` that failed. */
export interface MaintenanceFailure {
  readonly keyName: string;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** What `maintain()` did (in a dry run: would try), without what another process did first. */
export interface MaintenanceReport {
  /** New versions, which nobody writes with yet. In a dry run, the active keys they would follow. */
  readonly announced: readonly KeyInfo[];
  /** Versions announced earlier that are active now. */
  readonly activated: readonly KeyInfo[];
  readonly destroyed: readonly KeyInfo[];
  /** Versions that their policy would destroy, and for which `destroy()` needs the approval of others or a higher level. */
  readonly awaitingApproval: readonly KeyInfo[];
  /** Versions that their policy would destroy but rows need. */
  readonly stillNeeded: readonly KeyInfo[];
  /** The rotations of keys of scopes, by kind; only kinds of which some were due. */
  readonly scopes: readonly ScopeRotation[];
  readonly failures: readonly MaintenanceFailure[];
}

/** The rotation of the data keys of scopes of one kind. */
export interface ScopeRotation {
  /** Such as `tenant`. */
  readonly kind: string;
  /** Scopes with a new data key; in a dry run, those that are due. */
  readonly rotated: number;
  /** Scopes that are erased and were left alone. Counted where scopes are named. */
  readonly erased: number;
  /** Scopes of which the erasure is requested, and that were left alone. */
  readonly toBeErased: number;
  /** Why others have none, by the code of the error. The scopes are not named: they may be persons. */
  readonly failures: readonly ScopeRotationFailure[];
}

/** A reason why scopes have no new key, such as their own KMS, which refuses. */
export interface ScopeRotationFailure extends Pick<MaintenanceFailure, 'code' | 'message'> {
  /** Scopes with an error of this code; the message is that of the first one. */
  readonly scopes: number;
}
