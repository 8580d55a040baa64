import { IsIn, IsOptional, IsString, Matches } from 'class-validator';

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
import { noteUseInTurn } from './typeorm/installation/value-use';
import { scopeOfKey } from './typeorm/metadata/encrypted-column';
import { RowBinding } from './typeorm/metadata/row-binding';
import type { RowScope } from './typeorm/metadata/row-scope';
import { keysOfScope } from './typeorm/metadata/scoped-keys';

/** Options of values that are stored elsewhere than in an entity, with the meaning they have for a column. */
export interface PurposeOptions extends Pick<EncryptedOptions, 'type' | 'storage' | 'key'> {
  /**
   * The kind of scopes, which an entity has, to whose keys the values belong: each to that of the
   * {@link withKeyScope} around the call. Defaults to none: the common key, in any context.
   */
  scope?: string;
}

class PurposeOptionRules {
  @IsOptional() @IsIn(ENCRYPTED_TYPES) type?: unknown;
  @IsOptional() @IsIn(['text', 'binary']) storage?: unknown;
  @IsOptional() @Matches(/^\w[\w.-]{0,63}$/) key?: unknown;
  @IsOptional() @IsString() scope?: unknown;
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
  /** The kind of scopes whose keys they have. */
  readonly #kind: string | undefined;
  #made: PurposeField | undefined;

  /** @internal */
  constructor(installation: Installation, purpose: string, options: PurposeOptions = {}) {
    requirePurpose(purpose);
    requireOptions(options);
    this.#installation = installation;
    this.#kind = options.scope;
    this.#policy = Object.freeze({
      entity: ENTITY,
      property: purpose,
      fieldId: purpose,
      type: options.type ?? 'string',
      storage: options.storage ?? 'text',
      keyName: options.key ?? 'default',
      boundTo: options.scope === undefined ? [] : [options.scope],
      isScoped: options.scope !== undefined,
      ...{ coerce: false, readsUnbound: false, readsUnscoped: false, isSealed: false },
      ...{ maxValueBytes: DEFAULT_MAX_VALUE_BYTES, columnLength: undefined },
    });
  }

  /**
   * Encrypts a value: to text, or to bytes with `storage: 'binary'`.
   *
   * @throws {@link UnsupportedValueError} for a value of another type, `null` included;
   * {@link MissingScopeError} without a context, for values of scopes
   */
  async encrypt(
    value: unknown,
    { manager }: Pick<ValueOptions, 'manager'> = {},
  ): Promise<string | Buffer> {
    await this.#noteUse('encrypt', manager);
    const { cipher, ofScope } = this.#field();
    if (ofScope === undefined) {
      await this.#installation.prepareDataKey(this.#policy.keyName, manager?.queryRunner);
      return cipher.encrypt(value);
    }
    await this.#prepareScope(ofScope, { index: false }, manager);
    return cipher.encrypt(value, ofScope.binding.contextOf(NO_CELL));
  }

  /**
   * Decrypts a value of {@link PurposeValues.encrypt}.
   *
   * @throws {@link MalformedCiphertextError} for anything else
   * @throws {@link DecryptionError} for a value of another purpose, or that was changed
   * @throws {@link ScopeMismatchError} for one of another scope than that of the context
   */
  async decrypt(
    stored: unknown,
    { manager }: Pick<ValueOptions, 'manager'> = {},
  ): Promise<unknown> {
    await this.#noteUse('decrypt', manager);
    const { cipher, keys, ofScope } = this.#field();
    const found = cipher.inspect(stored);
    if (found.kind !== 'ciphertext') throw notEncrypted(this.#policy);
    await this.#installation.loadKeys([found.prefix], manager?.queryRunner);
    if (ofScope === undefined) return cipher.decrypt(stored);
    await this.#installation.recordAcrossScopes(manager?.queryRunner);
    const id = ofScope.scope.ofRead(NO_ROW, scopeOfKey(keys, found.prefix));
    return cipher.decrypt(stored, ofScope.binding.contextOf(NO_CELL, id ?? ''));
  }

  /**
   * Returns a keyed hash of a value: the same for equal values of the purpose, such as for a cache key.
   *
   * @throws {@link UnsupportedValueError} for a value of another type, or one that cannot be compared
   */
  async token(value: unknown, { manager }: Pick<ValueOptions, 'manager'> = {}): Promise<string> {
    await this.#noteUse('lookup', manager);
    const field = this.#field();
    if (field.ofScope === undefined) {
      await this.#installation.prepareIndexRoot(manager?.queryRunner);
    } else {
      await this.#prepareScope(field.ofScope, { index: true }, manager);
    }
    field.index ??= new BlindIndex(
      this.#policy,
      EXACT,
      this.#installation.options.application,
      field.keys,
      LABELS.purposeIndexKey,
    );
    return field.index.token(value);
  }

  #noteUse(operation: ValuesMessage['operation'], held?: ValueOptions['manager']): Promise<void> {
    const use = { policy: this.#policy };
    return noteUseInTurn(held?.queryRunner, this.#installation, use, operation);
  }

  #prepareScope(
    { scope }: ScopedField,
    how: { readonly index: boolean },
    manager: ValueOptions['manager'] | undefined,
  ): Promise<void> | undefined {
    return this.#installation.prepareScopes([scope.current()], how, manager?.queryRunner);
  }

  /** Made anew when the DataSource is initialized again, with other keys. */
  #field(): PurposeField {
    const { keys: common, options } = this.#installation;
    if (this.#made?.common !== common) {
      const { application } = options;
      const policy = this.#policy;
      const scope = this.#scope();
      const keys = keysOfScope(common, scope);
      const cipher = new FieldCipher(policy, application, keys, LABELS.purposeAssociatedData);
      const ofScope = scope && { scope, binding: new RowBinding([], scope) };
      this.#made = { common, keys, cipher, ofScope, index: undefined };
    }
    return this.#made;
  }

  /** @throws {@link ConfigurationError} for a kind that no entity has */
  #scope(): RowScope | undefined {
    const kind = this.#kind;
    if (kind === undefined) return undefined;
    for (const { scopes } of this.#installation.columns.byEntity.values()) {
      const found = scopes.find(({ scope }) => scope.kind === kind);
      if (found !== undefined) return found.scope.outsideOfRows(this.#policy);
    }
    throw new ConfigurationError(
      'value(): "scope" names a kind of scopes that no encrypted property has. Look whether it is right.',
    );
  }
}

/** What encrypts the values of a purpose under the keys of an initialized DataSource. */
interface PurposeField {
  /** Those of the DataSource. */
  readonly common: KeySource;
  /** Those of the scope of the context, for values that have such. */
  readonly keys: KeySource;
  readonly ofScope: ScopedField | undefined;
  readonly cipher: FieldCipher;
  /** Made for the first token: not every type has one. */
  index: BlindIndex | undefined;
}

/** The scope of values, and what binds them to it. */
interface ScopedField {
  readonly scope: RowScope;
  readonly binding: RowBinding;
}

/** The values are in no row. */
const NO_CELL = (): undefined => undefined;
const NO_ROW = { value: NO_CELL };

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
    ? (optionProblems(PurposeOptionRules, options) ?? scopeProblem(options))
    : 'no object as its options';
  if (problem !== undefined) throw new ConfigurationError(`value(): ${problem}.`);
}

/** A variable without a value would put values of a scope under the common key, where an erasure leaves them. */
function scopeProblem(options: PurposeOptions): string | undefined {
  if (!('scope' in options)) return undefined;
  if (typeof options.scope !== 'string') {
    return '"scope" is given without a kind. Leave it out for the common key';
  }
  if (options.key === undefined) return undefined;
  return '"key" names a common key, and the values have keys of their scope. Leave one of them out';
}
