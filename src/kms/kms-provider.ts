/**
 * The binding of a wrapped data key. A provider must authenticate it: the MAC of the key record is
 * keyed from the data key, and proves nothing once that has leaked.
 */
export interface KeyBinding {
  /** The application the data key belongs to (`FieldEncryptionOptions.application`). */
  readonly application: string;
  /** Id of the data key, 16 lower-case hexadecimal digits. */
  readonly keyId: string;
  /** Name of the data key, such as `default`. */
  readonly keyName: string;
  /** What the key is for: field ciphertexts, blind-index tokens, or the seal of the audit log. */
  readonly purpose: 'data' | 'index' | 'audit' | 'signing';
}

/** A wrapped data key, for storage. */
export interface WrappedKey {
  /** Names the KEK (and its version) that wrapped the key, in the provider's own terms. At most 512 characters. */
  readonly kek: string;
  /** The wrapped bytes with everything the provider needs to unwrap them, at most 4096. */
  readonly wrapped: Uint8Array;
}

/** The result of a provider's health probe. A property that is undefined is unknown. */
export interface KmsHealth {
  /** Whether, as far as it can tell, it can unwrap the keys that it has wrapped. */
  readonly ok: boolean;
  /** One line for an operator; never a secret. */
  readonly detail?: string | undefined;
  /** Whether it answered. */
  readonly reachable?: boolean | undefined;
  /** Whether it accepted the credentials. */
  readonly authenticated?: boolean | undefined;
  /** Whether this process may wrap, and so make keys. */
  readonly mayWrap?: boolean | undefined;
  /** Whether this process may unwrap. */
  readonly mayUnwrap?: boolean | undefined;
  /** Version of the KEK that wraps now, in the provider's own terms. */
  readonly kekVersion?: string | undefined;
  /** When that KEK or version was made. */
  readonly kekCreatedAt?: Date | undefined;
  /** The providers that this one consists of, such as those of a failover. */
  readonly members?: readonly NamedKmsHealth[] | undefined;
}

/** The health of one of several providers. */
export interface NamedKmsHealth extends KmsHealth {
  readonly name: string;
}

/**
 * The port to whatever holds the key-encryption key (KEK).
 *
 * Wrapping must need a secret of the KMS: somebody who can write to the database but cannot use the KMS
 * must not be able to make a wrapped key that unwraps to bytes they know. Authenticated symmetric
 * wrapping has that property; encryption to a public key needs a proof beside it, see
 * {@link KmsProvider.isAuthenticated}.
 *
 * Implementations must throw {@link KmsUnavailableError} for what may succeed later,
 * {@link KeyUnwrapError} for a wrapped key that does not unwrap, and {@link ConfigurationError} for
 * settings that cannot work; and must never put key bytes, secrets or tokens into a message.
 */
export interface KmsProvider {
  /** A short, stable name, such as `local` or `pkcs11`, which is stored with each wrapped key. */
  readonly name: string;
  /** What it computes in this process and FIPS 140-3 does not approve, such as `scrypt`; left out if nothing. */
  readonly unapproved?: string | undefined;
  /** Wraps 32 key bytes. Must not keep or change `key`. */
  wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey>;
  /** Unwraps to exactly the bytes that were wrapped; the caller owns and wipes the returned copy. */
  unwrapKey(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array>;
  /**
   * Whether a wrapped key that {@link KmsProvider.unwrapKey} opens can only have been made by
   * somebody who can use the KMS. Other keys are read with, but protect no new data. Looks at the form
   * alone, without calling the KMS; an error means no. Left out if it is always so.
   */
  isAuthenticated?(wrapped: WrappedKey): boolean;
  /**
   * Probes the provider without touching a data key, with as few calls as possible: readiness probes ask
   * every few seconds. Never throws.
   */
  health(): Promise<KmsHealth>;
  /** Releases connections and forgets key material. */
  close?(): Promise<void>;
}

/** Calls {@link KmsProvider.isAuthenticated}, and takes an error as a no. */
export function isAuthenticated(kms: KmsProvider, wrapped: WrappedKey): boolean {
  try {
    return kms.isAuthenticated?.(wrapped) ?? true;
  } catch {
    return false;
  }
}
