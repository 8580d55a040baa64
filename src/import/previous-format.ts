import { DecryptionError } from '../errors';
import type { FieldEncryptionError } from '../errors';

/** The common part of all formats. */
interface Format {
  /** Such as `typeorm-encrypted`, for messages. */
  readonly name: string;
  /**
   * Whether a stored value has the form of this format, by its text alone. Must not recognise a value of any
   * other form.
   */
  recognises(stored: string): boolean;
  /** Called when the DataSource is destroyed. The format can be used again. */
  close?(): Promise<void>;
}

/** A format that decrypts in this process. */
export interface LocalPreviousFormat extends Format {
  /**
   * Returns the bytes that were encrypted; text as UTF-8. Called only for values that
   * {@link Format.recognises} accepts.
   *
   * @throws {@link DecryptionError} without entity and property, which the caller adds
   */
  decrypt(stored: string): Uint8Array;
}

/** A format that decrypts elsewhere, so that values are decrypted before rows are hydrated. */
export interface RemotePreviousFormat extends Format {
  /**
   * Decrypts many values. Returns the bytes of each, or its error, in the given order.
   *
   * @throws {@link KmsUnavailableError}, {@link ConfigurationError} for a problem of all values
   */
  decryptAll(stored: readonly string[]): Promise<readonly (Uint8Array | FieldEncryptionError)[]>;
}

/**
 * The format in which another library wrote the values of a column. It is only read, until all values are
 * converted. `typeorm-field-encryption/import` has `typeormEncryptedFormat`, `cloakFormat` and
 * `vaultTransitFormat`; for any other, implement one of these interfaces.
 */
export type PreviousFormat = LocalPreviousFormat | RemotePreviousFormat;

/**
 * Returns the error of a value that does not decrypt. The caller prepends entity and property.
 *
 * @param format - the name of the format
 * @param why - a clause, without anything of the value
 */
export function undecryptable(format: string, why: string, remedy: string): DecryptionError {
  return new DecryptionError(`a value of ${format} ${why}. ${remedy}`);
}
