import type { SqlForms } from '../sql-forms';
import { firstByte, placeholderWhere, STANDARD_SQL } from '../standard-sql';

const DAY_MS = 86_400_000;
const JULIAN_DAY_OF_1970 = 2_440_587.5;
/** Its absolute value raises an error, which few other things do. */
const NO_ABSOLUTE_VALUE = '-9223372036854775808';

export const sqliteSql: SqlForms = {
  ...STANDARD_SQL,
  now: `CAST((julianday('now') - ${String(JULIAN_DAY_OF_1970)}) * ${String(DAY_MS)} AS INTEGER)`,
  // There is one writer at a time.
  lockRows: '',
  currentRows: '',
  renewsColumns: false,
  rowsAreValues: false,
  upsert: { update: ' DO UPDATE SET ', hasAlias: false },
  hasPlaceholder: (_sql, tokens) => tokens.some((token) => /^[?$@:]/.test(token)),
  placeholderAt: (sql, at) => {
    let questions = -1;
    return placeholderWhere(sql, (token) => token === '?' && ++questions === at);
  },
  hex: (sql) => `lower(hex(${sql}))`,
  isHex: (sql) => `${sql} NOT GLOB '*[^0-9a-f]*'`,
  jsonTexts: (array) => `SELECT value FROM json_each(${array})`,
  // A cell has a type of its own, whatever the column's: a ciphertext stored as a BLOB still needs its key.
  prefix: (cell, storage) =>
    storage === 'text'
      ? `substr(CAST(${cell} AS TEXT), 1, 12)`
      : `hex(substr(CAST(${cell} AS BLOB), 1, 9))`,
  hasHexPrefix: (storage) => storage === 'binary',
  length: (cell, storage) =>
    storage === 'text' ? `length(${cell})` : `length(CAST(${cell} AS BLOB))`,
  isCiphertext: (cell, form) => {
    const isLong = `length(${cell}) >= ${String(form.shortest)}`;
    const bytes = form.formats.map((byte) => `x'${byte}'`);
    return form.storage === 'binary'
      ? `${firstByte(cell, bytes)} AND ${isLong}`
      : `${cell} GLOB 'A${form.second}*' AND ${cell} NOT GLOB '*[^A-Za-z0-9_-]*' AND ${isLong}`;
  },
  // It takes longer to check the alphabet of a long text than for the rest of an insert, and every statement
  // compiles the condition. So it is one pattern, for as many characters as the shortest ciphertext has.
  checksCiphertext: (cell, form) =>
    form.storage === 'binary'
      ? sqliteSql.isCiphertext(cell, form)
      : `${cell} GLOB 'A${form.second}${'[A-Za-z0-9_-]'.repeat(form.shortest - 2)}*'`,
  until: (time, { sql }, whileTrue) => {
    const day = String(time / DAY_MS + JULIAN_DAY_OF_1970);
    return `CASE WHEN julianday() < ${day}${whileTrue} THEN ${sql} ELSE abs(${NO_ABSOLUTE_VALUE}) END`;
  },
  isTooLate: (message, sql) =>
    message.includes('integer overflow') && sql.includes(NO_ABSOLUTE_VALUE),
  fail: (mark) => `json_extract('[]', '${mark}')`,
};
