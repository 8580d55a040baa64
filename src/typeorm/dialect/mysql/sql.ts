import type { CiphertextForm, Placeholder, SqlForms, SqlValue } from '../sql-forms';

/**
 * When the statement began, in UTC, and the time since, for which `SYSDATE` is read each time it is evaluated.
 * Alone it would be in the zone of the session, where an hour repeats itself once a year.
 */
const NOW =
  'UTC_TIMESTAMP(6) + INTERVAL GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) MICROSECOND';
const NOW_MS = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${NOW}) DIV 1000`;

const TOO_LATE = 'field-encryption: the key is too old';

const QUESTIONS = /\?+/g;
/** The same outside of quotes and comments. */
const QUOTED_OR_QUESTIONS =
  /'(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"|`[^`]*`|#.*|--\s.*|\/\*(?![!+])[^]*?\*\/|\?+/g;

const CAST_TYPES = { text: 'CHAR', integer: 'SIGNED' } as const;

/** MySQL and MariaDB. */
export const mysqlSql: SqlForms = {
  now: NOW_MS,
  lockRows: ' FOR UPDATE',
  currentRows: ' FOR UPDATE',
  // Of MySQL, as the other form takes the right to change rows there; each takes that of the other for a comment.
  committedRow: ' /*!80000 FOR SHARE */ /*M!100000 LOCK IN SHARE MODE */',
  renewsColumns: true,
  rowsAreValues: false,
  upsert: { update: ' ON DUPLICATE KEY UPDATE ', hasAlias: false },
  conflictsWithAny: (column) => `CAST(${column} AS BINARY) <=> CAST(VALUES(${column}) AS BINARY)`,
  onlyDuplicates,
  assigned: /^(?::orm_param_\d+|VALUES\(`(?:[^`]|``)*`\))/,
  hasPlaceholder: (sql) => sql.includes('?'),
  placeholderAt,
  cast: (sql, type) => `CAST(${sql} AS ${CAST_TYPES[type]})`,
  concat: (parts) => `CONCAT(${parts.join(', ')})`,
  exactly: (text) => `CAST(CONVERT(${text} USING utf8mb4) AS BINARY)`,
  hex: (sql) => `LOWER(HEX(${sql}))`,
  isHex: (sql) => `${exact(sql)} NOT REGEXP '[^0-9a-f]'`,
  // By their bytes, and with no collation of the database, which does not compare with that of the connection.
  jsonTexts: (array) =>
    `SELECT texts.text COLLATE utf8mb4_bin FROM JSON_TABLE(${array}, '$[*]' ` +
    "COLUMNS (text LONGTEXT CHARACTER SET utf8mb4 PATH '$')) AS texts",
  tuples: (tuples) => `(${tuples.join(', ')})`,
  prefix: (cell, storage) =>
    storage === 'text'
      ? exact(`SUBSTR(${cell}, 1, 12)`)
      : exact(`REPLACE(REPLACE(TO_BASE64(SUBSTR(${cell}, 1, 9)), '+', '-'), '/', '_')`),
  hasHexPrefix: () => false,
  length: (cell, storage) => (storage === 'text' ? `CHAR_LENGTH(${cell})` : `LENGTH(${cell})`),
  isCiphertext,
  checksCiphertext: isCiphertext,
  until: (time, { sql, type }, whileTrue) =>
    `CASE WHEN ${NOW} < '${new Date(time).toISOString().slice(0, -1).replace('T', ' ')}'${whileTrue} ` +
    `THEN ${sql} ELSE ${fail(TOO_LATE, type)} END`,
  isTooLate: (message) => message.includes(TOO_LATE),
  fail,
};

/** A text by its bytes. Characters outside of ASCII become question marks, which no ciphertext or token has. */
function exact(text: string): string {
  return `CONVERT(${text} USING ascii) COLLATE ascii_bin`;
}

function isCiphertext(cell: string, form: CiphertextForm): string {
  const { formats, second, shortest, storage } = form;
  if (storage === 'binary') {
    const bytes = formats.map((byte) => `x'${byte}'`);
    return `SUBSTR(${cell}, 1, 1) IN (${bytes.join(', ')}) AND LENGTH(${cell}) >= ${String(shortest)}`;
  }
  const text = exact(cell);
  // `$` would also match before a line break at the end.
  return (
    `${text} REGEXP '^A${second}' AND ${text} NOT REGEXP '[^A-Za-z0-9_-]' ` +
    `AND CHAR_LENGTH(${cell}) >= ${String(shortest)}`
  );
}

/**
 * Exceeds the greatest integer, which is an error also for `IGNORE` and without strict mode, and whose message
 * quotes the expression. With `UUID` it is no constant, which would be evaluated before the row is.
 */
function fail(mark: string, type: SqlValue['type']): string {
  const overflow = `~0 + CHAR_LENGTH(CONCAT('${mark}', UUID()))`;
  return type === 'boolean'
    ? `(${overflow})`
    : `CAST(${overflow} AS ${type === 'text' ? 'CHAR' : 'BINARY'})`;
}

/** What an INSERT begins with that ignores errors; the comment of a builder stands before it. */
const IGNORING = /^((?:\s*\/\*(?:(?!\*\/)[^])*\*\/)*\s*INSERT)\s+IGNORE(?=\s+INTO\b)/;

/** What it would assign is already there. It stands before RETURNING, which MariaDB has. */
function onlyDuplicates(sql: string, key: string): string {
  if (!IGNORING.test(sql)) return sql;
  const insert = sql.replace(IGNORING, '$1').trimEnd();
  // With `orUpdate`, too, the row is written over.
  if (insert.includes(mysqlSql.upsert.update)) return insert;
  const returning = insert.lastIndexOf(' RETURNING ');
  const end = returning < 0 ? insert.length : returning;
  return `${insert.slice(0, end)} ON DUPLICATE KEY UPDATE ${key} = ${key}${insert.slice(end)}`;
}

/**
 * Finds a placeholder as all versions of the driver do: older ones also count those in quotes and comments, so that
 * there is none where these would have it in another place.
 */
function placeholderAt(sql: string, at: number): Placeholder | undefined {
  const everywhere = matchAt(sql, QUESTIONS, at);
  const outside = matchAt(sql, QUOTED_OR_QUESTIONS, at);
  return everywhere?.index === outside?.index && outside?.text === '?' ? outside : undefined;
}

function matchAt(sql: string, form: RegExp, at: number): Placeholder | undefined {
  let found = -1;
  for (const { 0: text, index } of sql.matchAll(form)) {
    // Two stand for a name, and more for nothing.
    if (text.startsWith('?') && text.length <= 2 && ++found === at) return { index, text };
  }
  return undefined;
}
