import type { DataSource } from 'typeorm';

import type { SecretsOf } from '../secret-rows';

/** The error of `mysql2`. */
export interface MysqlError extends Error {
  code?: string;
  sqlMessage?: string;
  sql?: string;
}

/** Where a message quotes a value, and what it says of it. */
interface Quote {
  readonly pattern: RegExp;
  /** Whether the name after the value is that of an index rather than a column. */
  readonly isIndex: boolean;
}

const QUOTES: readonly Quote[] = [
  { pattern: /^(Duplicate entry ').*(' for key '(.*)'.*)$/s, isIndex: true },
  { pattern: /^(Incorrect .*? value: ').*(' for column (.*) at row .*)$/s, isIndex: false },
  { pattern: /^((?:Truncated incorrect|Incorrect) .*? value: ').*('.*)$/s, isIndex: false },
];

/** Errors that quote values, in whatever language, and those that quote SQL, into which the driver puts values. */
const QUOTING: readonly (string | undefined)[] = [
  ...['ER_DUP_ENTRY', 'ER_DUP_ENTRY_WITH_KEY_NAME', 'ER_TRUNCATED_WRONG_VALUE', 'ER_PARSE_ERROR'],
  ...['ER_TRUNCATED_WRONG_VALUE_FOR_FIELD', 'ER_WRONG_VALUE', 'ER_WRONG_VALUE_FOR_TYPE'],
  ...['ER_INVALID_CHARACTER_STRING', 'ER_TOO_LONG_IDENT', 'ER_WRONG_VALUE_FOR_VAR'],
  ...[
    'ER_UNKNOWN_TIME_ZONE',
    'ER_UNKNOWN_LOCALE',
    'ER_UNKNOWN_CHARACTER_SET',
    'ER_UNKNOWN_COLLATION',
  ],
  ...['ER_UNKNOWN_STORAGE_ENGINE'],
];

const VALUE_LEFT_OUT = '[left out by field encryption]';

/** The table that a statement writes, in the quotes that TypeORM puts around it. */
const WRITTEN =
  /^\s*(?:INSERT\s+(?:IGNORE\s+)?INTO|REPLACE\s+INTO|UPDATE)\s+(?:`(?:[^`]|``)*`\.)?`((?:[^`]|``)*)`/i;

interface Known {
  readonly dataSource: DataSource;
  readonly secretsOf: SecretsOf;
}

/** Takes values out of an error, unless they are of columns that are neither encrypted nor indexes of such ones. */
export function withoutValues(error: MysqlError, sql: string, known: Known): void {
  error.sql = sql;
  const message = error.sqlMessage ?? error.message;
  const redacted = redactedMessage(message, error.code, sql, known);
  if (redacted === message) return;
  error.sqlMessage = redacted;
  error.stack = error.stack?.replace(message, () => redacted) ?? '';
  error.message = error.message.replace(message, () => redacted);
}

function redactedMessage(
  message: string,
  code: string | undefined,
  sql: string,
  known: Known,
): string {
  for (const { pattern, isIndex } of QUOTES) {
    const [, before, after, name = ''] = pattern.exec(message) ?? [];
    if (before === undefined || after === undefined) continue;
    return isSecret(name, isIndex, sql, known) ? `${before}${VALUE_LEFT_OUT}${after}` : message;
  }
  if (!QUOTING.includes(code)) return message;
  return `${String(code)} ${VALUE_LEFT_OUT}`;
}

function isSecret(
  name: string,
  isIndex: boolean,
  sql: string,
  { dataSource, secretsOf }: Known,
): boolean {
  const table = WRITTEN.exec(sql)?.[1]?.replaceAll('``', '`');
  // What another table's rows are selected for is a copy of them.
  if (table === undefined || /\bselect\b/i.test(sql)) return true;
  const isSecretColumn = secretsOf(table);
  if (isSecretColumn === undefined) return false;
  const columns = isIndex ? columnsOf(dataSource, table, name) : name;
  return columns === undefined || columns === '' || isSecretColumn(columns);
}

/** Returns the columns of an index, whose name may follow that of its table; `undefined` if it is not known. */
function columnsOf(dataSource: DataSource, table: string, index: string): string | undefined {
  const name = index.split('.').at(-1) ?? '';
  const entities = dataSource.entityMetadatas.filter(
    ({ tableName }) => tableName.toLowerCase() === table.toLowerCase(),
  );
  const of = entities.flatMap(({ indices, uniques, primaryColumns }) => [
    ...[...indices, ...uniques].map((each) => ({ name: each.name, columns: each.columns })),
    { name: 'PRIMARY', columns: primaryColumns },
  ]);
  return of
    .find((each) => each.name === name)
    ?.columns.map(({ databaseName }) => databaseName)
    .join(', ');
}
