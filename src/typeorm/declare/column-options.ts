import type { Normalizer } from '../../field/normalizer';

/** What an encrypted property holds in memory. */
export type EncryptedType = 'string' | 'number' | 'bigint' | 'boolean' | 'date' | 'json' | 'bytes';

/** Options of {@link Encrypted} and `encryptedColumn`. */
export interface EncryptedOptions {
  /**
   * Type of the value in memory. Defaults to the property's design type; to `'string'` where that
   * is a union or the compiler emits none. Objects and arrays need `'json'`.
   */
  type?: EncryptedType;
  /** Column form: `text` holds base64url, `binary` holds bytes (a quarter smaller). Defaults to `'text'`. */
  storage?: 'text' | 'binary';
  /** Whether the column may hold NULL; NULL is stored as NULL, not encrypted. Defaults to `false`. */
  nullable?: boolean;
  /** Name of the database column. Defaults to what the naming strategy makes of the property. */
  name?: string;
  /** Whether `find` selects the column by default. Defaults to `true`. */
  select?: boolean;
  /** Whether inserts write the column. Defaults to `true`. */
  insert?: boolean;
  /** Whether updates write the column. Defaults to `true`. */
  update?: boolean;
  /** Comment of the database column, where the database has them. */
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
   * Width of the column in characters (`text`: `varchar(length)`). Must hold a whole ciphertext,
   * which is some 66 characters plus four for each three bytes of plaintext. Defaults to unlimited.
   */
  length?: number;
  /**
   * Whether a CHECK constraint of the database refuses what is not a ciphertext, no matter what writes it.
   * Without this option, `synchronize` and `migration:generate` make it in new tables, and leave those
   * that have been made without it as they are; with `true` they add it to these, too. `false` leaves
   * it out, as does a property that `legacyPlaintext` or `previousFormats` names. Defaults to new
   * tables only.
   */
  check?: boolean;
}

/** What decides, beside the keys, which token a value has. */
export interface BlindIndexDefinition {
  /** How values are folded before they are hashed. Defaults to `'exact'`. */
  normalize?: 'exact' | 'case-insensitive' | 'email' | 'digits' | Normalizer;
  /**
   * Bits of the token that are stored, 1 to 256: fewer bits leak less and cost a decryption for
   * each false positive. Results stay exact. Refused together with `unique`. Defaults to 256.
   */
  bits?: number;
}

/** Options of {@link BlindIndex} and `blindIndexColumns`. */
export interface BlindIndexOptions extends BlindIndexDefinition {
  /** Tells several indexes of one property apart. Lookups use the unnamed one where there is one. */
  name?: string;
  /** Whether two rows may share a normalized value. Defaults to `false`. */
  unique?: boolean;
  /**
   * Other properties that have to be equal, too, for two rows to count as duplicates: property paths of
   * columns that are not encrypted, or of relations whose foreign key the entity has. A path is looked
   * for beside the property first, which matters within an embedded class. NULL equals nothing, as in
   * any unique index. Refused together with `unique` and `bits`. Defaults to none.
   */
  uniqueWith?: readonly string[];
  /**
   * Other definitions of which stored tokens may be while the index changes its own: the earlier
   * one, or one that other processes write already. Lookups find rows by any of them. Take it out
   * when all rows are reindexed. Defaults to none.
   */
  previous?: readonly BlindIndexDefinition[];
  /** Name of the hidden column, used as it stands. Defaults to `<property>_bidx`, `<property>_bidx_<name>` when named. */
  columnName?: string;
  /** Says that the equality pattern of a low-entropy property (a boolean) may be visible. Defaults to `false`. */
  acknowledgeLeakage?: boolean;
}

/** Property name of the hidden index column. */
export function indexPropertyName(property: string, options: BlindIndexOptions): string {
  const { name, columnName } = options;
  // What is wrong with the options is said at initialize(), not where they are written.
  const wanted: unknown =
    columnName ?? (name === undefined ? `${property}_bidx` : `${property}_bidx_${name}`);
  // TypeORM finds properties in conditions by what an identifier may hold; the column may be called anything.
  return String(wanted).replace(/[^\p{L}\p{N}_$]/gu, '_');
}

/**
 * Characters of the longest token that an index may store: base64url of the 32-byte HMAC, or of the
 * bytes that hold `bits`.
 */
export function tokenChars({ bits, previous }: BlindIndexOptions): number {
  // What is wrong with the options is said at initialize(), not where they are written.
  const earlier = Array.isArray(previous) ? (previous as readonly BlindIndexDefinition[]) : [];
  return Math.max(charsOf(bits), ...earlier.map((definition) => charsOf(definition.bits)));
}

function charsOf(bits = 256): number {
  return Math.ceil((Math.ceil(bits / 8) * 4) / 3);
}
