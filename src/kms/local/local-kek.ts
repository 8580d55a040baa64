import type { PassphraseExamination } from './passphrase-strength';
import type { KmsHealth } from '../kms-provider';
import type { KeyObject } from 'node:crypto';

/** A KEK ready to wrap with. */
export interface KekForWrapping {
  readonly kek: KeyObject;
  /** What the key record calls it. */
  readonly name: string;
  /** Stored in front of the sealed key: all that is needed to find the KEK again. */
  readonly header: Uint8Array;
}

/** A KEK found for a wrapped key. */
export interface KekForUnwrapping {
  readonly kek: KeyObject;
  readonly header: Uint8Array;
  readonly sealed: Uint8Array;
  /** Told whether the KEK opened the key. */
  readonly report: (opened: boolean) => void;
}

/** Where the local KMS has its key-encryption key from. */
export interface LocalKek {
  forWrapping(): Promise<KekForWrapping>;
  /** @throws {@link KeyUnwrapError} for a wrapped key from another source */
  forUnwrapping(wrapped: Uint8Array): Promise<KekForUnwrapping>;
  /** May throw; the provider turns that into an answer. */
  health(): Promise<KmsHealth>;
  forget(): void;
  /** Tells how well a passphrase protects; for a KEK that is derived from none there is no such method. */
  examine?(): Promise<PassphraseExamination>;
}
