import { AeadError } from '../crypto/aead';
import type { CipherSuite } from '../crypto/cipher-suite';
import { contentBytes, decodeOpened, TYPE_TAG_BYTES, writeValue } from '../encoding/value-codec';
import type { FieldValue, OpenedValue } from '../encoding/value-codec';
import { ValueCodecError } from '../encoding/value-codec-error';
import { KeyNotFoundError } from '../errors';
import { FORMATS } from '../format/data-key-id';
import {
  inspectStored,
  isBound,
  namedPrefix,
  prefixOf,
  readCiphertext,
  storedLength,
  storedLengthOf,
} from '../format/field-ciphertext';
import type { StoredInspection } from '../format/field-ciphertext';
import type { DataKey, KeySource } from '../keys/key-source';

import { AssociatedData } from './associated-data';
import { counted, messageIn, plaintextOffset, roomFor } from './ciphertext-room';
import { fieldContent } from './field-content';
import {
  doesNotAuthenticate,
  doesNotDecode,
  keyUnusable,
  malformedCiphertext,
  plaintextFound,
  rowUnknown,
} from './field-errors';
import { isBoundField } from './field-policy';
import type { FieldPolicy } from './field-policy';
import { requireColumnLength, requireValueLength } from './length-limits';
import { NativeValues } from './native-values';
import { requireNotOlder } from './older-values';
import { contextUnder } from './row-context';

/**
 * The cipher of one field, which encrypts and decrypts synchronously with keys in memory. The caller
 * handles NULL: `null` and `undefined` are refused like any wrong type.
 */
export class FieldCipher {
  readonly #policy: FieldPolicy;
  readonly #keys: KeySource;
  readonly #associatedData: AssociatedData;
  readonly #native: NativeValues;

  /** @param label - of the kind of values; see `LABELS` */
  constructor(policy: FieldPolicy, application: string, keys: KeySource, label?: string) {
    this.#policy = policy;
    this.#keys = keys;
    this.#associatedData = new AssociatedData(application, policy.fieldId, label);
    this.#native = new NativeValues(policy, this.#associatedData);
  }

  /**
   * Encrypts a value under the active key: a string for a text column, a Buffer for a binary one.
   *
   * @param context - of the value's row; needed by, and only by, fields whose values are bound to their rows
   * @throws {@link UnsupportedValueError} if the value is of another type than declared, cannot be kept
   * exactly, or is too long for the policy or the column
   * @throws whatever {@link KeySource.activeKey} throws
   */
  encrypt(value: unknown, context?: string): string | Buffer {
    this.#requireContext(context);
    const content = fieldContent(this.#policy, value);
    const bytes = contentBytes(content);
    const key = this.#keyFor(bytes);
    const sealed = this.#native.forKey(key)?.seal(content, context);
    if (sealed !== undefined) return counted(key, sealed);
    const room = roomFor(key, bytes);
    writeValue(this.#policy.type, content, room, plaintextOffset(key));
    return this.#seal(key, room, context);
  }

  /**
   * Throws an {@link UnsupportedValueError} where {@link FieldCipher.encrypt} would, and needs no key. The
   * length is checked only for a given suite.
   */
  check(value: unknown, suite?: CipherSuite): void {
    const bytes = contentBytes(fieldContent(this.#policy, value));
    if (suite === undefined) return;
    requireValueLength(this.#policy, bytes);
    requireColumnLength(this.#policy, storedLength(bytes, suite, this.#policy.storage));
  }

  /**
   * Decrypts a ciphertext of {@link FieldCipher.encrypt}. The result is the caller's own copy.
   *
   * @param context - of the row that holds it, as for {@link FieldCipher.encrypt}
   * @throws {@link PlaintextFoundError} if the column holds something else than a ciphertext
   * @throws {@link MalformedCiphertextError} for a damaged one, or one of an unknown format
   * @throws {@link DecryptionError} if it does not authenticate here, or holds another type
   * @throws whatever {@link KeySource.keyByPrefix} throws
   */
  decrypt(stored: unknown, context?: string): FieldValue {
    this.#requireContext(context);
    const named = this.#namedKey(stored);
    if (named !== undefined) {
      const opened = this.#native.forKey(named)?.open(stored, context);
      if (opened !== undefined) return this.#decode(named, opened);
    }
    const bytes = this.#read(stored);
    const key = named ?? this.#keyOf(prefixOf(stored, bytes));
    return this.#decode(key, this.#open(key, bytes, context));
  }

  /** Inspects the form of a stored value. Needs no key. */
  inspect(stored: unknown): StoredInspection {
    return inspectStored(stored, this.#policy.storage, isBoundField(this.#policy));
  }

  /** Whether there is a key of this prefix, which must have been loaded before. */
  knowsKey(prefix: string): boolean {
    try {
      this.#keys.keyByPrefix(prefix);
      return true;
    } catch (error) {
      // A key that is unavailable at the moment is still a key.
      return !(error instanceof KeyNotFoundError);
    }
  }

  /**
   * Decrypts to the encoded value, type tag included, for {@link FieldCipher.sealRaw}.
   *
   * @throws the same errors as {@link FieldCipher.decrypt}
   */
  openRaw(stored: unknown, context?: string): Buffer {
    this.#requireContext(context);
    const named = this.#namedKey(stored);
    const opened = named && this.#native.forKey(named)?.openRaw(stored, context);
    if (opened !== undefined) return opened;
    const bytes = this.#read(stored);
    return this.#open(named ?? this.#keyOf(prefixOf(stored, bytes)), bytes, context);
  }

  /**
   * Encrypts an encoded value of {@link FieldCipher.openRaw} under the active key, so that a value
   * moves to it without being decoded.
   *
   * @throws {@link UnsupportedValueError} if it is too long
   * @throws whatever {@link KeySource.activeKey} throws
   */
  sealRaw(encoded: Uint8Array, context?: string): string | Buffer {
    this.#requireContext(context);
    const bytes = encoded.length - TYPE_TAG_BYTES;
    const key = this.#keyFor(bytes);
    const sealed = this.#native.forKey(key)?.sealRaw(encoded, context);
    if (sealed !== undefined) return counted(key, sealed);
    const room = roomFor(key, bytes);
    room.set(encoded, plaintextOffset(key));
    return this.#seal(key, room, context);
  }

  #activeKey(name: string): DataKey {
    try {
      return this.#keys.activeKey(name);
    } catch (error) {
      throw keyUnusable(this.#policy, error);
    }
  }

  /** Returns the key that a value names by its beginning. Reading the whole value gives the reason for none. */
  #namedKey(stored: unknown): DataKey | undefined {
    const prefix = namedPrefix(stored);
    try {
      return prefix === undefined ? undefined : this.#keys.keyByPrefix(prefix);
    } catch {
      return undefined;
    }
  }

  #decode(key: DataKey, opened: OpenedValue): FieldValue {
    try {
      return decodeOpened(this.#policy.type, opened);
    } catch (error) {
      if (!(error instanceof ValueCodecError)) throw error;
      throw doesNotDecode(this.#policy, key.id, error.reason);
    }
  }

  #keyOf(prefix: string): DataKey {
    try {
      return this.#keys.keyByPrefix(prefix);
    } catch (error) {
      throw keyUnusable(this.#policy, error);
    }
  }

  /** Returns the active key if a value of this length fits. */
  #keyFor(bytes: number): DataKey {
    requireValueLength(this.#policy, bytes);
    const key = this.#activeKey(this.#policy.keyName);
    const needed = storedLengthOf(bytes, key.aead.nonceBytes, this.#policy.storage);
    requireColumnLength(this.#policy, needed);
    return key;
  }

  #requireContext(context: string | undefined): void {
    if ((context !== undefined) !== isBoundField(this.#policy)) throw rowUnknown(this.#policy);
  }

  #seal(key: DataKey, bytes: Buffer, context: string | undefined): string | Buffer {
    if (context !== undefined) bytes[0] = FORMATS.bound;
    key.aead.seal(messageIn(key, bytes), this.#associatedData.of(key, context));
    return counted(key, this.#policy.storage === 'text' ? bytes.toString('base64url') : bytes);
  }

  #read(stored: unknown): Buffer {
    const bytes = readCiphertext(stored, this.#policy.storage);
    if (bytes !== undefined && (isBoundField(this.#policy) || !isBound(bytes))) return bytes;
    const inspection = this.inspect(stored);
    throw inspection.kind === 'malformed'
      ? malformedCiphertext(this.#policy, inspection.reason)
      : plaintextFound(this.#policy);
  }

  #open(key: DataKey, bytes: Buffer, context: string | undefined): Buffer {
    const { aead, id } = key;
    requireNotOlder(this.#policy, key, context !== undefined && !isBound(bytes));
    if (bytes.length < storedLengthOf(0, aead.nonceBytes, 'binary')) {
      throw malformedCiphertext(this.#policy, 'it is cut short', id);
    }
    try {
      const under = isBound(bytes) ? contextUnder(key, this.#policy, context) : undefined;
      return aead.open(messageIn(key, bytes), this.#associatedData.of(key, under));
    } catch (error) {
      if (!(error instanceof AeadError)) throw error;
      throw doesNotAuthenticate(this.#policy, id);
    }
  }
}
