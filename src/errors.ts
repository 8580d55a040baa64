/** Stable, machine-readable codes; one for each error class. */
export type FieldEncryptionErrorCode =
  | 'ERR_CONFIGURATION'
  | 'ERR_FIELD_POLICY'
  | 'ERR_KEY_NOT_FOUND'
  | 'ERR_KEY_STATE'
  | 'ERR_KEY_UNWRAP'
  | 'ERR_KEY_UNAUTHENTICATED'
  | 'ERR_KMS_UNAVAILABLE'
  | 'ERR_CIPHERTEXT_MALFORMED'
  | 'ERR_CIPHER_SUITE'
  | 'ERR_DECRYPTION'
  | 'ERR_PLAINTEXT_FOUND'
  | 'ERR_INDEX_INTEGRITY'
  | 'ERR_UNSUPPORTED_QUERY'
  | 'ERR_UNSUPPORTED_VALUE'
  | 'ERR_VALIDATION'
  | 'ERR_RUN_INTERRUPTED'
  | 'ERR_RUN_PLAN'
  | 'ERR_AUDIT'
  | 'ERR_SCOPE_MISSING'
  | 'ERR_SCOPE_MISMATCH'
  | 'ERR_ERASED'
  | 'ERR_ACCESS_DENIED'
  | 'ERR_RATE_LIMITED'
  | 'ERR_APPROVAL_REQUIRED';

/** The circumstances of an error: names and ids, never a value, a ciphertext or key bytes. */
export interface FieldEncryptionErrorDetails {
  /** Name of the entity, as TypeORM knows it. */
  entity?: string;
  /** Property path within the entity. */
  property?: string;
  /** Id of the data key, 16 hexadecimal digits. */
  keyId?: string;
  /** The error underneath. */
  cause?: unknown;
}

/**
 * Base of every error this library throws.
 *
 * Catch by class, or by the stable `code`:
 * @example
 * ```ts
 * try {
 *   await patients.findOneByOrFail({ email });
 * } catch (error) {
 *   if (error instanceof FieldEncryptionError && error.retryable) await retryLater();
 *   else throw error;
 * }
 * ```
 */
export abstract class FieldEncryptionError extends Error {
  /** Stable code of the class, such as `ERR_DECRYPTION`. */
  abstract readonly code: FieldEncryptionErrorCode;
  /** Whether the same call may succeed later without any change. */
  readonly retryable: boolean = false;
  readonly entity: string | undefined;
  readonly property: string | undefined;
  readonly keyId: string | undefined;

  constructor(message: string, details: FieldEncryptionErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.entity = details.entity;
    this.property = details.property;
    this.keyId = details.keyId;
  }
}

/** The library is not set up, or set up wrongly, for an operation. */
export class ConfigurationError extends FieldEncryptionError {
  readonly code = 'ERR_CONFIGURATION';
}

/** A decorator or column definition asks for something that cannot be protected. Thrown by `initialize()`. */
export class InvalidFieldPolicyError extends FieldEncryptionError {
  readonly code = 'ERR_FIELD_POLICY';
}

/** A ciphertext names a data key that the key table does not hold. */
export class KeyNotFoundError extends FieldEncryptionError {
  readonly code = 'ERR_KEY_NOT_FOUND';
}

/**
 * The branch key of a scope that has a KMS of its own is gone. No backup of keys holds it: only a backup of the
 * database brings it back.
 */
export class OwnBranchNotFoundError extends KeyNotFoundError {}

/** The state of a data key forbids the operation, or has changed meanwhile. */
export class KeyStateError extends FieldEncryptionError {
  readonly code = 'ERR_KEY_STATE';
  override readonly retryable: boolean;

  constructor(
    message: string,
    details: FieldEncryptionErrorDetails & { retryable?: boolean } = {},
  ) {
    super(message, details);
    this.retryable = details.retryable ?? false;
  }
}

/** A wrapped data key does not unwrap: wrong KEK or passphrase, or an edited, swapped or damaged key row. */
export class KeyUnwrapError extends FieldEncryptionError {
  readonly code = 'ERR_KEY_UNWRAP';
}

/** A backup of keys does not open: wrong passphrase, KMS or shares, or a file that was changed. */
export class BackupUnwrapError extends KeyUnwrapError {}

/**
 * Nothing proves that a data key was made with access to the KMS: a public key was enough to wrap it.
 * It decrypts, but does not encrypt, make tokens or seal the audit log until it is adopted
 * (`field-encryption keys adopt`).
 */
export class UnauthenticatedKeyError extends FieldEncryptionError {
  readonly code = 'ERR_KEY_UNAUTHENTICATED';
}

/** The KMS could not be reached and no usable key is in memory. Worth retrying. */
export class KmsUnavailableError extends FieldEncryptionError {
  readonly code = 'ERR_KMS_UNAVAILABLE';
  override readonly retryable = true;
}

/** A stored value has the header of a ciphertext but not its form. */
export class MalformedCiphertextError extends FieldEncryptionError {
  readonly code = 'ERR_CIPHERTEXT_MALFORMED';
}

/** A data key has a cipher suite that this version does not know. */
export class UnsupportedCipherSuiteError extends FieldEncryptionError {
  readonly code = 'ERR_CIPHER_SUITE';
}

/**
 * A ciphertext does not authenticate: it was changed, moved from another column, entity or application, or
 * made under another key. One class for all, as they cannot be told apart.
 */
export class DecryptionError extends FieldEncryptionError {
  readonly code = 'ERR_DECRYPTION';
}

/** An encrypted column holds a value that is not a ciphertext. */
export class PlaintextFoundError extends FieldEncryptionError {
  readonly code = 'ERR_PLAINTEXT_FOUND';
}

/**
 * A lookup found a row whose token is not that of its value. Tokens were exchanged, or written without their
 * values. The row is not returned.
 */
export class IndexIntegrityError extends FieldEncryptionError {
  readonly code = 'ERR_INDEX_INTEGRITY';
}

/** A query needs of an encrypted column what ciphertext cannot provide. */
export class UnsupportedQueryError extends FieldEncryptionError {
  readonly code = 'ERR_UNSUPPORTED_QUERY';
}

/** A value cannot be stored exactly in the column it is meant for. Nothing was written. */
export class UnsupportedValueError extends FieldEncryptionError {
  readonly code = 'ERR_UNSUPPORTED_VALUE';
}

/** The plaintext breaks the entity's class-validator rules. Nothing was written. */
export class PlaintextValidationError extends FieldEncryptionError {
  readonly code = 'ERR_VALIDATION';
  /** The rules that were broken, by property; constraint names only, never values. */
  readonly violations: readonly {
    readonly property: string;
    readonly constraints: readonly string[];
  }[];

  constructor(
    message: string,
    details: FieldEncryptionErrorDetails & { violations: PlaintextValidationError['violations'] },
  ) {
    super(message, details);
    this.violations = details.violations;
  }
}

/**
 * The database failed in the middle of a run over the rows. Committed pages stay, the current one was rolled
 * back, and the next run continues where this one stopped.
 */
export class RunInterruptedError extends FieldEncryptionError {
  readonly code = 'ERR_RUN_INTERRUPTED';
  override readonly retryable = true;
}

/**
 * A run over the rows cannot start with its options, or not continue from its checkpoint. Rows that it
 * reports as done are done; no others were touched.
 */
export class RunPlanError extends FieldEncryptionError {
  readonly code = 'ERR_RUN_PLAN';
}

/** Something could not be recorded in the audit log, and was not done, or not in the access log. Worth retrying. */
export class AuditError extends FieldEncryptionError {
  readonly code = 'ERR_AUDIT';
  override readonly retryable = true;
}

/**
 * A value has keys of its scope, and no scope is known: the row names none, or nothing set the context.
 * Nothing was read or written.
 */
export class MissingScopeError extends FieldEncryptionError {
  readonly code = 'ERR_SCOPE_MISSING';
}

/** The scope of a row, of its value or of its condition is not that of the context. */
export class ScopeMismatchError extends FieldEncryptionError {
  readonly code = 'ERR_SCOPE_MISMATCH';
}

/** The keys of a scope were erased, or are about to be: nothing can be written for it. */
export class ErasedError extends FieldEncryptionError {
  readonly code = 'ERR_ERASED';
}

/** The actor at work has too low a level for the operation (`access`). */
export class AccessDeniedError extends FieldEncryptionError {
  readonly code = 'ERR_ACCESS_DENIED';
}

/**
 * The operation needs the approval of others (`approvals`), and does not have it; or an approval, or the policy
 * itself, is refused. Nothing was changed.
 */
export class ApprovalRequiredError extends FieldEncryptionError {
  readonly code = 'ERR_APPROVAL_REQUIRED';
  /** Id of the request to be signed; undefined where there is none. */
  readonly request: string | undefined;

  constructor(message: string, details: FieldEncryptionErrorDetails & { request?: string } = {}) {
    super(message, details);
    this.request = details.request;
  }
}
