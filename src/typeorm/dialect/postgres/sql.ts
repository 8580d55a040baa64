import type { CiphertextForm, SqlForms, SqlValue } from '../sql-forms';
import { firstByte, placeholderWhere, STANDARD_SQL } from '../standard-sql';

const TYPES: Readonly<Record<SqlValue['type'], string>> = {
  text: 'text',
  binary: 'bytea',
  boolean: 'boolean',
};

const TOO_LATE = 'field-encryption: the key is too old';

export const postgresSql: SqlForms = {
  ...STANDARD_SQL,
  now: "CAST(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000 AS bigint)",
  lockRows: ' FOR NO KEY UPDATE',
  currentRows: '',
  renewsColumns: false,
  rowsAreValues: true,
  upsert: { update: ' DO UPDATE SET ', hasAlias: true },
  placeholderAt: (sql, at) => {
    const wanted = `$${String(at + 1)}`;
    return placeholderWhere(sql, (token) => token === wanted);
  },
  hex: (sql) => `encode(${sql}, 'hex')`,
  isHex: (sql) => `${sql} !~ '[^0-9a-f]'`,
  jsonTexts: (array) => `SELECT json_array_elements_text(CAST(${array} AS json))`,
  prefix: (cell, storage) =>
    storage === 'text'
      ? `substr(${cell}, 1, 12)`
      : `translate(encode(substr(${cell}, 1, 9), 'base64'), '+/', '-_')`,
  hasHexPrefix: () => false,
  length: (cell) => `length(${cell})`,
  isCiphertext,
  checksCiphertext: isCiphertext,
  until: (time, { sql, type }, whileTrue) =>
    `CASE WHEN pg_catalog.clock_timestamp() < '${new Date(time).toISOString()}'${whileTrue} ` +
    `THEN CAST(${sql} AS ${TYPES[type]}) ELSE ${fail(TOO_LATE, type)} END`,
  isTooLate: (message) => message.includes(TOO_LATE),
  fail,
};

function isCiphertext(cell: string, form: CiphertextForm): string {
  const { formats, second, shortest } = form;
  if (form.storage === 'binary') {
    const first = firstByte(
      cell,
      formats.map((byte) => `decode('${byte}', 'hex')`),
    );
    return `${first} AND octet_length(${cell}) >= ${String(shortest)}`;
  }
  // The collation of the column must not decide what a range of characters holds.
  return `${cell} COLLATE "C" ~ '^A${second}[A-Za-z0-9_-]*$' AND length(${cell}) >= ${String(shortest)}`;
}

/** The mark becomes the name of a setting that cannot exist, which the error quotes. */
function fail(mark: string, type: SqlValue['type']): string {
  return `CAST(current_setting('${mark}') AS ${TYPES[type]})`;
}
