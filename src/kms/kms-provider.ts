/**
 * What a wrapped data key is bound to. A provider must authenticate it: the MAC of the key record is
 * keyed from the data key, and says nothing where that has leaked.
 */
export interface KeyBinding {
  /** The application the data key belongs to (`FieldEncryptionOptions.application`). */
  readonly application: string;
  /** Id of the data key, 16 lower-case hexadecimal digits. */
  readonly keyId: string;
  /** Name of the data key, such as `default`. */
  readonly keyName: string;
  /** What the key is for: field ciphertexts, blind-index tokens, or the seal of the audit log. */
  readonly purpose: 'data' | 'index' | 'audit';
}

/** A data key as a provider hands it out for storage; holds no plaintext key. */
export interface WrappedKey {
  /** Names the KEK (and its version) that wrapped the key, in the provider's own terms. At most 512 characters. */
  readonly kek: string;
  /** The wrapped bytes with everything the provider needs to unwrap them, at most 4096. */
  readonly wrapped: Uint8Array;
}

/** Result of a provider's health probe. What is left out or undefined is not known. */
export interface KmsHealth {
  /** Whether it serves: keys that it has wrapped can be unwrapped, as far as it can tell. */
  readonly ok: boolean;
  /** One line for an operator; never a secret. */
  readonly detail?: string | undefined;
  /** Whether it answered. */
  readonly reachable?: boolean | undefined;
  /** Whether it accepted the credentials. */
  readonly authenticated?: boolean | undefined;
  /** Whether this process may wrap, and with it make keys. */
  readonly mayWrap?: boolean | undefined;
  /** Whether this process may unwrap. */
  readonly mayUnwrap?: boolean | undefined;
  /** Version of the KEK that wraps now, in the provider's own terms. */
  readonly kekVersion?: string | undefined;
  /** When the KEK that wraps now, or its version, was made. */
  readonly kekCreatedAt?: Date | undefined;
  /** Each of the providers that this one is made of, such as those of a failover. */
  readonly members?: readonly NamedKmsHealth[] | undefined;
}

/** The health of one of several providers. */
export interface NamedKmsHealth extends KmsHealth {
  readonly name: string;
}

/**
 * The port to whatever holds the key-encryption key (KEK).
 *
 * Wrapping must need a secret of the KMS: who writes to the database and can use no operation of the
 * KMS must not be able to make a wrapped key that unwraps to bytes they know. Authenticated
 * symmetric wrapping has that property; encryption to a public key has it only with a proof beside
 * it, see {@link KmsProvider.isAuthenticated}.
 *
 * Implementations must throw {@link KmsUnavailableError} for what may succeed later,
 * {@link KeyUnwrapError} for a wrapped key that does not unwrap, and {@link ConfigurationError} for
 * settings that cannot work; and must never put key bytes, secrets or tokens into a message.
 */
export interface KmsProvider {
  /** Short, stable name kept beside each wrapped key, such as `local` or `pkcs11`. */
  readonly name: string;
  /** Wraps 32 key bytes. Must not keep or change `key`. */
  wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey>;
  /** Unwraps to exactly the bytes that were wrapped; the caller owns and wipes the returned copy. */
  unwrapKey(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array>;
  /**
   * Whether a wrapped key that {@link KmsProvider.unwrapKey} opens can only have been made by
   * somebody who can use the KMS. What is not is read with, and nothing is protected with it. Looks
   * at the form alone and asks nobody; to throw is to say no. Left out where it is always so.
   */
  isAuthenticated?(wrapped: WrappedKey): boolean;
  /**
   * Probes the provider without touching a data key, by as few calls as will do: readiness probes ask
   * every few seconds. Never throws.
   */
  health(): Promise<KmsHealth>;
  /** Releases connections and forgets key material. */
  close?(): Promise<void>;
}

/** What a provider says of a wrapped key by {@link KmsProvider.isAuthenticated}; a failure is a no. */
export function isAuthenticated(kms: KmsProvider, wrapped: WrappedKey): boolean {
  try {
    return kms.isAuthenticated?.(wrapped) ?? true;
  } catch {
    return false;
  }
}
