import type { Storage } from '../../format/field-ciphertext';

/** A value in SQL, and what it is. */
export interface SqlValue {
  readonly sql: string;
  readonly type: Storage | 'boolean';
}

/** What the stored form of a ciphertext looks like. */
export interface CiphertextForm {
  readonly storage: Storage;
  /** The bytes that it may begin with, in hexadecimal. */
  readonly formats: readonly string[];
  /** The range of characters, as in a regular expression, that text in base64url has second. */
  readonly second: string;
  /** The least characters of text, or bytes. */
  readonly shortest: number;
}

/** A placeholder in a statement. */
export interface Placeholder {
  readonly index: number;
  readonly text: string;
}

/** What differs in the SQL of databases. All of it is text; nothing is sent. */
export interface SqlForms {
  /** Milliseconds since 1970, by the clock of the database now, not at the beginning of the transaction. */
  readonly now: string;
  /** Ends a SELECT whose rows nobody else is to change before the transaction ends; empty where nobody can. */
  readonly lockRows: string;
  /**
   * Ends a SELECT that has to see what others have committed since the snapshot of its transaction; empty where writing
   * from an older one fails.
   */
  readonly currentRows: string;
  /**
   * Ends a SELECT of one row, by all columns of a unique index, that reads it as it was committed last, past the
   * snapshot of the transaction, and takes no right but to read; left out where a row that is in the way of an INSERT
   * is seen.
   */
  readonly committedRow?: string;
  /** Whether an UPDATE renews other columns by itself, such as the date of the update. */
  readonly renewsColumns: boolean;
  /** Whether the name of a row may stand for its values. */
  readonly rowsAreValues: boolean;
  /** How TypeORM writes the update of a row that is in the way of an INSERT. */
  readonly upsert: {
    /** What its assignments follow. */
    readonly update: string;
    /** Whether its row has the alias of the builder, rather than the name of the table. */
    readonly hasAlias: boolean;
  };
  /**
   * Whether the row that is in the way of an INSERT has the same in a column, by its bytes; left out where that row is
   * the one of the conflict target.
   */
  conflictsWithAny?(column: string): string;
  /**
   * Returns an INSERT of TypeORM's that ignores any error as one that ignores rows which are there; left out where TypeORM
   * writes it so.
   *
   * @param key - a column of the primary key.
   */
  onlyDuplicates?(sql: string, key: string): string;
  /** What TypeORM assigns to a column: a parameter, or the value of the row that was to be inserted. */
  readonly assigned: RegExp;
  /**
   * Whether a condition from outside has a placeholder, which would take the value of another. Left out where the
   * database refuses it by itself.
   *
   * @param tokens - its symbols and values
   */
  hasPlaceholder?(sql: string, tokens: readonly string[]): boolean;
  /** Finds the placeholder of a parameter in a statement, outside of quotes. */
  placeholderAt(sql: string, at: number): Placeholder | undefined;
  /** A text or an integer of any value. */
  cast(sql: string, type: 'text' | 'integer'): string;
  concat(parts: readonly string[]): string;
  /** A text as it is compared by its bytes; left out where all texts are. */
  readonly exactly?: (text: string) => string;
  /** The digits of bytes, in lower case. */
  hex(sql: string): string;
  /** Whether a text has digits of {@link hex} only. */
  isHex(sql: string): string;
  /** Selects the texts in a JSON array. */
  jsonTexts(array: string): string;
  /** A list of tuples, for a comparison by IN. */
  tuples(tuples: readonly string[]): string;
  /** The first 12 characters of a stored text, or those that the first 9 bytes are in base64url. */
  prefix(cell: string, storage: Storage): string;
  /** Whether {@link prefix} is in hexadecimal, in upper case, where the database has no base64. */
  hasHexPrefix(storage: Storage): boolean;
  /** The length of a stored value, in characters of text or in bytes. */
  length(cell: string, storage: Storage): string;
  /** True for a ciphertext, false for anything else, NULL for NULL. */
  isCiphertext(cell: string, form: CiphertextForm): string;
  /** The same as CHECK, or the cheapest condition that keeps cleartext out. */
  checksCiphertext(cell: string, form: CiphertextForm): string;
  /**
   * The value until a time in milliseconds by the clock of the database, and as long as `whileTrue` holds; a
   * failure of the statement from then on.
   *
   * @param whileTrue - a condition that begins with AND, or nothing.
   */
  until(time: number, value: SqlValue, whileTrue: string): string;
  /** Whether a statement failed for {@link until}. */
  isTooLate(message: string, sql: string): boolean;
  /** Fails when it is evaluated, with an error whose message has the mark. */
  fail(mark: string, type: SqlValue['type']): string;
}
