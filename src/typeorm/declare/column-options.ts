import type { Normalizer } from '../../field/normalizer';

/** The type of an encrypted property in memory. */
export type EncryptedType = 'string' | 'number' | 'bigint' | 'boolean' | 'date' | 'json' | 'bytes';

/** Every {@link EncryptedType}, for the rules of options. */
export const ENCRYPTED_TYPES = [
  'string',
  'number',
  'bigint',
  'boolean',
  'date',
  'json',
  'bytes',
] as const satisfies readonly EncryptedType[];

/** Options of {@link Encrypted} and `encryptedColumn`. */
export interface EncryptedOptions {
  /**
   * Type of the value in memory. Defaults to the property's design type, and to `'string'` if that is a union
   * or for `encryptedColumn`. Objects and arrays need `'json'`; a decorated property needs a type where the
   * compiler emits no decorator metadata.
   */
  type?: EncryptedType;
  /** Column form: `text` holds base64url, `binary` holds bytes (a quarter smaller). Defaults to `'text'`. */
  storage?: 'text' | 'binary';
  /** Whether the column may hold NULL; NULL is stored as NULL, not encrypted. Defaults to `false`. */
  nullable?: boolean;
  /** Name of the database column. Defaults to the one that the naming strategy gives the property. */
  name?: string;
  /** Whether `find` selects the column by default. Defaults to `true`. */
  select?: boolean;
  /** Whether inserts write the column. Defaults to `true`. */
  insert?: boolean;
  /** Whether updates write the column. Defaults to `true`. */
  update?: boolean;
  /** Comment of the database column, if the database has them. */
  comment?: string;
  /**
   * Logical id bound into every ciphertext. Pin it before you rename an entity or property, or
   * minify class names. Two properties with one id accept each other's ciphertexts. Defaults to
   * `Entity.property`.
   */
  id?: string;
  /** Name of the data key. Defaults to `'default'`. */
  key?: string;
  /**
   * The kind of scope that has keys of its own, such as `'tenant'`; `false` for the common key. Defaults to the kind
   * of the entity's `@KeyScope`, or where the option `keyScope` is set, to `'default'`.
   */
  scope?: string | false;
  /**
   * Properties of the entity that values are bound to: a ciphertext is then only accepted in the row that it
   * was written for. Paths of columns that the application sets before the insert and never changes, such as
   * a UUID it makes, or of relations with one foreign key column. Cannot be changed once there are rows; see
   * `legacyUnbound` for a column that has some. Defaults to none.
   */
  bindTo?: readonly string[];
  /**
   * `'sealed'`: reading gives a {@link Sealed} instead of the value, which only `await reveal()` decrypts. Needs
   * `type`, as the design type says nothing of the value within. Defaults to the value itself.
   */
  read?: 'sealed';
  /**
   * Width of the column in characters (`text`: `varchar(length)`). Must hold a whole ciphertext,
   * which is some 66 characters plus four for each three bytes of plaintext. Defaults to unlimited.
   */
  length?: number;
  /**
   * Whether a CHECK constraint of the database refuses everything but ciphertext, no matter what writes it.
   * By default, `synchronize` and `migration:generate` create it in new tables, and leave existing tables
   * without it as they are; with `true` they add it to these, too. There is none with `false`, or while
   * `legacyPlaintext` or `previousFormats` names the property.
   */
  check?: boolean;
  /**
   * Turns values of another type into that of the property, where PostgreSQL or TypeORM did so for the
   * column in clear: numbers and booleans into text, decimal text into a number, ISO 8601 text into a date.
   * In lookups and blind indexes, too. For applications that rely on it; what they read is of the declared
   * type. Defaults to `false`: a value of another type is an {@link UnsupportedValueError}.
   */
  coerce?: boolean;
}

/** The part of a blind index that, with the keys, determines the token of a value. */
export interface BlindIndexDefinition {
  /** How values are normalized before they are hashed. Defaults to `'exact'`. */
  normalize?: 'exact' | 'case-insensitive' | 'email' | 'digits' | Normalizer;
  /**
   * Bits of the token that are stored, 1 to 256. Fewer bits leak less, and cost a decryption for each false
   * positive; results stay exact. Refused together with `unique`. Defaults to 256.
   */
  bits?: number;
}

/** Options of {@link BlindIndex} and `blindIndexColumns`. */
export interface BlindIndexOptions extends BlindIndexDefinition {
  /** Tells several indexes of one property apart. Lookups use the unnamed one if there is one. */
  name?: string;
  /** Whether two rows may share a normalized value. Defaults to `false`. */
  unique?: boolean;
  /**
   * Other properties that must also be equal for two rows to be duplicates: property paths of columns that
   * are not encrypted, or of relations whose foreign key the entity has. Within an embedded class, a path is
   * looked for beside the property first. NULL equals nothing, as in any unique index. Refused together
   * with `unique` and `bits`. Defaults to none.
   */
  uniqueWith?: readonly string[];
  /**
   * Other definitions that stored tokens may have while the index changes its own: the earlier one, or one
   * that other processes already write. Lookups find rows by any of them. Remove it once all rows are
   * reindexed. Defaults to none.
   */
  previous?: readonly BlindIndexDefinition[];
  /** Name of the hidden column, used as it is. Defaults to `<property>_bidx`, or `<property>_bidx_<name>` for a named index. */
  columnName?: string;
  /**
   * `false` for tokens under the common root, so that rows of all scopes can be looked up. Defaults to the scope of
   * the property: look-ups then need a scope, from the condition or the context.
   */
  scope?: false;
  /** Accepts that the equality pattern of a low-entropy property (a boolean) is visible. Defaults to `false`. */
  acknowledgeLeakage?: boolean;
}

/** Returns the property name of the hidden index column. */
export function indexPropertyName(property: string, options: BlindIndexOptions): string {
  const { name, columnName } = options;
  // Wrong options are reported at initialize(), not where they are written.
  const wanted: unknown =
    columnName ?? (name === undefined ? `${property}_bidx` : `${property}_bidx_${name}`);
  // TypeORM finds only identifiers as properties in conditions, while the column may have any name.
  return String(wanted).replace(/[^\p{L}\p{N}_$]/gu, '_');
}

/**
 * Returns the length of the longest token that an index may store: base64url of the 32-byte HMAC, or of the
 * bytes that hold `bits`.
 */
export function tokenChars({ bits, previous }: BlindIndexOptions): number {
  // Wrong options are reported at initialize(), not where they are written.
  const earlier = Array.isArray(previous) ? (previous as readonly BlindIndexDefinition[]) : [];
  return Math.max(charsOf(bits), ...earlier.map((definition) => charsOf(definition.bits)));
}

function charsOf(bits = 256): number {
  return Math.ceil((Math.ceil(bits / 8) * 4) / 3);
}
