import { IsIn, IsOptional, Matches } from 'class-validator';

import { LABELS } from './crypto/labels';
import { isWellFormed } from './encoding/text';
import { ConfigurationError, MalformedCiphertextError } from './errors';
import { BlindIndex } from './field/blind-index';
import type { BlindIndexPolicy } from './field/blind-index';
import { FieldCipher } from './field/field-cipher';
import { DEFAULT_MAX_VALUE_BYTES } from './field/field-policy';
import type { FieldPolicy } from './field/field-policy';
import { resolveNormalizer } from './field/normalizer';
import type { KeySource } from './keys/key-source';
import type { ValueOptions } from './stored-values';
import { ENCRYPTED_TYPES } from './typeorm/declare/column-options';
import type { EncryptedOptions } from './typeorm/declare/column-options';
import { optionProblems } from './typeorm/declare/option-rules';
import type { ValuesMessage } from './telemetry/channels';
import type { Installation } from './typeorm/installation/installation';
import { noteUse } from './typeorm/installation/value-use';

/** Options of values that are stored elsewhere than in an entity, with the meaning they have for a column. */
export type PurposeOptions = Pick<EncryptedOptions, 'type' | 'storage' | 'key'>;

class PurposeOptionRules {
  @IsOptional() @IsIn(ENCRYPTED_TYPES) type?: unknown;
  @IsOptional() @IsIn(['text', 'binary']) storage?: unknown;
  @IsOptional() @Matches(/^\w[\w.-]{0,63}$/) key?: unknown;
}

/** As it is stated in the messages of errors. */
const ENTITY = 'value';
const MAX_PURPOSE_CHARS = 256;

/**
 * Values of one purpose that are stored elsewhere than in an entity: in a queue, a cache, a file.
 *
 * They open under their purpose only: never in a column, nor do values of a column open here.
 *
 * **Warning**: no run, and no count of rows, knows where they are. A data key that is destroyed takes them
 * with it, and a rotated index key changes their tokens.
 */
export class PurposeValues {
  readonly #installation: Installation;
  readonly #policy: FieldPolicy;
  #made: PurposeField | undefined;

  /** @internal */
  constructor(installation: Installation, purpose: string, options: PurposeOptions = {}) {
    requirePurpose(purpose);
    requireOptions(options);
    this.#installation = installation;
    this.#policy = Object.freeze({
      entity: ENTITY,
      property: purpose,
      fieldId: purpose,
      type: options.type ?? 'string',
      storage: options.storage ?? 'text',
      keyName: options.key ?? 'default',
      boundTo: [],
      coerce: false,
      ...{ readsUnbound: false, isScoped: false, readsUnscoped: false },
      maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
      columnLength: undefined,
    });
  }

  /**
   * Encrypts a value: to text, or to bytes with `storage: 'binary'`.
   *
   * @throws {@link UnsupportedValueError} for a value of another type, `null` included
   */
  async encrypt(
    value: unknown,
    { manager }: Pick<ValueOptions, 'manager'> = {},
  ): Promise<string | Buffer> {
    this.#noteUse('encrypt');
    await this.#installation.prepareDataKey(this.#policy.keyName, manager?.queryRunner);
    return this.#field().cipher.encrypt(value);
  }

  /**
   * Decrypts a value of {@link PurposeValues.encrypt}.
   *
   * @throws {@link MalformedCiphertextError} for anything else
   * @throws {@link DecryptionError} for a value of another purpose, or that was changed
   */
  async decrypt(
    stored: unknown,
    { manager }: Pick<ValueOptions, 'manager'> = {},
  ): Promise<unknown> {
    this.#noteUse('decrypt');
    const { cipher } = this.#field();
    const found = cipher.inspect(stored);
    if (found.kind !== 'ciphertext') throw notEncrypted(this.#policy);
    await this.#installation.loadKeys([found.prefix], manager?.queryRunner);
    return cipher.decrypt(stored);
  }

  /**
   * Returns a keyed hash of a value: the same for equal values of the purpose, such as for a cache key.
   *
   * @throws {@link UnsupportedValueError} for a value of another type, or one that cannot be compared
   */
  async token(value: unknown, { manager }: Pick<ValueOptions, 'manager'> = {}): Promise<string> {
    this.#noteUse('lookup');
    await this.#installation.prepareIndexRoot(manager?.queryRunner);
    const field = this.#field();
    field.index ??= new BlindIndex(
      this.#policy,
      EXACT,
      this.#installation.options.application,
      field.keys,
      LABELS.purposeIndexKey,
    );
    return field.index.token(value);
  }

  #noteUse(operation: ValuesMessage['operation']): void {
    noteUse(this.#installation, { policy: this.#policy }, operation, () => 1);
  }

  /** Made anew when the DataSource is initialized again, with other keys. */
  #field(): PurposeField {
    const { keys, options } = this.#installation;
    if (this.#made?.keys !== keys) {
      const { application } = options;
      const policy = this.#policy;
      this.#made = {
        keys,
        cipher: new FieldCipher(policy, application, keys, LABELS.purposeAssociatedData),
        index: undefined,
      };
    }
    return this.#made;
  }
}

/** What encrypts the values of a purpose under the keys of an initialized DataSource. */
interface PurposeField {
  readonly keys: KeySource;
  readonly cipher: FieldCipher;
  /** Made for the first token: not every type has one. */
  index: BlindIndex | undefined;
}

const EXACT: BlindIndexPolicy = Object.freeze({
  name: '',
  normalizer: resolveNormalizer('exact'),
  bits: undefined,
  unique: false,
  previous: [],
});

function notEncrypted({ entity, property }: FieldPolicy): MalformedCiphertextError {
  return new MalformedCiphertextError(
    `${entity}.${property}: what is to be decrypted is not a whole value that was encrypted for a purpose. ` +
      'Check where it comes from, and that its storage is the same.',
    { entity, property },
  );
}

function requirePurpose(purpose: unknown): void {
  const isText = typeof purpose === 'string' && isWellFormed(purpose);
  if (isText && purpose !== '' && purpose.length <= MAX_PURPOSE_CHARS) return;
  throw new ConfigurationError(
    `The purpose of values is a text of 1 to ${String(MAX_PURPOSE_CHARS)} characters, without lone surrogates.`,
  );
}

/** Refuses what has no meaning for such values: a key name that was misspelt would make a key. */
function requireOptions(options: unknown): void {
  const isObject = typeof options === 'object' && options !== null;
  const problem = isObject
    ? optionProblems(PurposeOptionRules, options)
    : 'no object as its options';
  if (problem !== undefined) throw new ConfigurationError(`value(): ${problem}.`);
}
