import type { KeyPurpose, KeySuite } from './key-record';
import type { KeyState } from './key-state';

/** The description of a key for operators. Contains nothing of the key itself. */
export interface KeyInfo {
  /** 16 hexadecimal digits, which every ciphertext under a data key carries. */
  readonly id: string;
  readonly name: string;
  /** `data` for field values, `index` for the root of the blind indexes, `signing` for signatures. */
  readonly purpose: KeyPurpose;
  /** Counts from 1 within name and purpose. */
  readonly version: number;
  readonly state: KeyState;
  readonly suite: KeySuite;
  /** Name of the provider that wrapped the key. */
  readonly kms: string;
  /** The key-encryption key, in the provider's own terms. */
  readonly kek: string;
  readonly createdAt: Date;
  readonly activatedAt: Date | null;
  /** When it stopped protecting new data. */
  readonly deactivatedAt: Date | null;
  readonly compromisedAt: Date | null;
  readonly destroyedAt: Date | null;
  /** When it should no longer protect new data; `null` without a cryptoperiod. */
  readonly expiresAt: Date | null;
  /** When its rotation policy replaces it; `null` for a key that is not active or has none. */
  readonly nextRotationAt: Date | null;
  readonly owner: string | null;
  readonly securityLevel: string | null;
  /**
   * Values encrypted with it: by this process until now, and by the others until they last added theirs to
   * the key table, at most about `keyCache.ttlMs` of work ago.
   */
  readonly useCount: number;
}
