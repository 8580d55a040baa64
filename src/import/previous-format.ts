import { DecryptionError } from '../errors';
import type { FieldEncryptionError } from '../errors';

/** What all formats have: a name for messages, and a form to be told by. */
interface Format {
  /** Such as `typeorm-encrypted`, for messages. */
  readonly name: string;
  /**
   * Whether a stored value has the form of this format; without a key, and without trying to decrypt.
   * Nothing that is written in another way may be recognised.
   */
  recognises(stored: string): boolean;
  /** Called when the DataSource is destroyed. The format can be used again. */
  close?(): Promise<void>;
}

/** A format whose key is in this process. */
export interface LocalPreviousFormat extends Format {
  /**
   * The bytes that were encrypted; text as UTF-8. Given what {@link Format.recognises} accepts only.
   *
   * @throws {@link DecryptionError} without entity and property, which the caller adds
   */
  decrypt(stored: string): Uint8Array;
}

/** A format whose key is elsewhere, so that values are decrypted before rows are hydrated. */
export interface RemotePreviousFormat extends Format {
  /**
   * {@link LocalPreviousFormat.decrypt} for many values: the bytes, or what is wrong with one value, in
   * the order given.
   *
   * @throws {@link KmsUnavailableError}, {@link ConfigurationError} for what concerns all of them
   */
  decryptAll(stored: readonly string[]): Promise<readonly (Uint8Array | FieldEncryptionError)[]>;
}

/**
 * How another library wrote the values of a column: read while the column moves over, never written.
 * There are `typeormEncryptedFormat`, `cloakFormat` and `vaultTransitFormat` in
 * `typeorm-field-encryption/import`; for anything else, implement one of these.
 */
export type PreviousFormat = LocalPreviousFormat | RemotePreviousFormat;

/**
 * One value does not decrypt. The caller adds entity and property in front.
 *
 * @param format - the name of the format
 * @param why - a clause, without anything of the value
 */
export function undecryptable(format: string, why: string, remedy: string): DecryptionError {
  return new DecryptionError(`a value of ${format} ${why}. ${remedy}`);
}
