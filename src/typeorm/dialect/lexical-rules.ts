/** A string or a quoted name. Within it, the closing quote is doubled. */
export interface Quotation {
  /** What it begins with, up to its opening quote. */
  readonly begin: RegExp;
  readonly closing: string;
  readonly isName: boolean;
  /** Whether a backslash takes the meaning of a quote; `maybe` where a setting of the server decides. */
  readonly backslash: 'plain' | 'escapes' | 'maybe';
}

/**
 * How a database tells the tokens of SQL apart, so that the check of hand-written SQL sees each name that the
 * database does. All expressions but `hiddenNames` are sticky.
 */
export interface LexicalRules {
  /** White space. */
  readonly blanks: RegExp;
  readonly number: RegExp;
  /** A name without quotes, or a keyword. */
  readonly word: RegExp;
  /** Whether a word with a gap after it is still qualified by a dot, or may be a keyword. */
  readonly joinsOverGaps: boolean;
  /** The first that matches counts. */
  readonly quotations: readonly Quotation[];
  /** What begins and ends a string without quotes, if there are such. */
  readonly dollarQuote?: RegExp;
  /** A comment up to the end of its line. */
  readonly lineComment: RegExp;
  /** Whether comments between slashes and stars nest. */
  readonly nestsComments: boolean;
  /** Whether `::` and a type may follow a value. */
  readonly hasCasts: boolean;
  /** What settings, versions or drivers take for different things, so that names may hide behind it. */
  readonly unclear?: RegExp;
  /** A form of names in which they cannot be found, and what messages call it. */
  readonly hiddenNames?: { readonly form: RegExp; readonly called: string };
}

/** What PostgreSQL and SQLite have in common. */
export const COMMON_RULES = {
  blanks: /[ \t\n\v\f\r]+/y,
  // What follows at once is a word: older versions of PostgreSQL read `1from` as `1 from`.
  number: /0[xob][\da-f_]+|(?:\d[\d_]*(?:\.(?!\.)[\d_]*)?|\.\d[\d_]*)(?:e[+-]?\d[\d_]*)?/iy,
  // All characters beyond ASCII are letters.
  word: /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y,
  joinsOverGaps: true,
} satisfies Partial<LexicalRules>;

/** `"name"`, in the quotes of the standard. */
export const QUOTED_NAME: Quotation = {
  begin: /"/y,
  closing: '"',
  isName: true,
  backslash: 'plain',
};

/** `'string'`, in which a backslash is one. */
export const PLAIN_STRING: Quotation = {
  begin: /'/y,
  closing: "'",
  isName: false,
  backslash: 'plain',
};

/** A name in backticks. */
export const BACKTICKED_NAME: Quotation = { ...QUOTED_NAME, begin: /`/y, closing: '`' };
