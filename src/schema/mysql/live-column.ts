import type { QueryRunner } from 'typeorm';

import { quotedName } from '../../typeorm/dialect/mysql/names';
import { inSchema } from '../../typeorm/dialect/mysql/table-name';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { columnRefused } from '../expanded-table';

/** A column in `information_schema`. */
export interface LiveColumn {
  /** The type without its length and the like. */
  readonly base: string;
  /** As SQL takes it, such as `varchar(40)`. */
  readonly type: string;
  readonly collation: string | null;
  /** SQL of the default; of none, `NULL` on MariaDB where the column may be NULL. */
  readonly default: string | null;
  /** Such as `on update current_timestamp()`. */
  readonly extra: string;
  /** The bytes that its longest text may have. */
  readonly octets: number | string | null;
}

export async function liveColumns(
  runner: QueryRunner,
  tablePath: string,
): Promise<ReadonlyMap<string, LiveColumn>> {
  const { sql, values } = inSchema(tablePath);
  const rows = (await runner.query(
    'SELECT column_name AS name, data_type AS base, column_type AS type, collation_name AS collation, ' +
      'column_default AS `default`, extra AS extra, character_octet_length AS octets ' +
      `FROM information_schema.columns WHERE ${sql}`,
    values,
  )) as (LiveColumn & { readonly name: string })[];
  return new Map(rows.map((row) => [row.name, row]));
}

const BINARY = ['binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob'];

const TEXTS = ['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set'];

const DATES = ['date', 'datetime', 'timestamp'];

/** Types whose values are text, or become the text by which the driver has shown them. */
const CONVERTIBLE = new Set([
  ...BINARY,
  ...TEXTS,
  ...DATES,
  ...['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'bit', 'decimal', 'float', 'double'],
  ...['time', 'year', 'json', 'uuid', 'inet4', 'inet6'],
]);

export function isBinary({ base }: LiveColumn): boolean {
  return BINARY.includes(base);
}

/**
 * Refuses a type without a form of text.
 *
 * @throws {@link ConfigurationError}
 */
export function assertConvertible(live: LiveColumn, encrypted: EncryptedColumn): void {
  const { storage, type } = encrypted.policy;
  const title = `the column ${quotedName(encrypted.column.databaseName)} is ${live.type}`;
  if (!CONVERTIBLE.has(live.base)) {
    throw columnRefused(
      encrypted,
      `${title}, for which there is no one text form. Convert it to the text that the property is to hold, ` +
        'and run the command again.',
    );
  }
  if (isBinary(live) && storage === 'text') {
    throw columnRefused(
      encrypted,
      `${title}, and bytes need not be text. Set storage: 'binary' in @Encrypted.`,
    );
  }
  if (live.base === 'bit' && type === 'bytes') {
    throw columnRefused(
      encrypted,
      `${title}, which becomes a number. Change the type of the property, or the column to binary.`,
    );
  }
}

/** Returns SQL for the value of an unconverted column, as it will be stored. */
export function storedForm(live: LiveColumn, { column, policy }: EncryptedColumn): string {
  const name = quotedName(column.databaseName);
  if (isBinary(live)) return name;
  const text = live.base === 'float' ? floatText(name) : textForm(live, name);
  return policy.storage === 'text' ? text : `CAST(${text} AS BINARY)`;
}

function textForm({ base }: LiveColumn, name: string): string {
  return `CONVERT(${base === 'bit' ? `${name} + 0` : name} USING utf8mb4)`;
}

function floatText(name: string): string {
  return `IF(${isShort(name)}, ${shortFloat(name)}, CONVERT(CAST(${name} AS DOUBLE) USING utf8mb4))`;
}

/** Returns SQL for a float in the six digits by which the database shows it. */
export function shortFloat(float: string): string {
  // By way of a text, which MariaDB would skip in CONVERT.
  return `CONCAT('', CAST(${float} AS FLOAT))`;
}

/** Whether a float is the same from its six digits. */
export function isShort(float: string): string {
  return `CAST(${shortFloat(float)} AS FLOAT) = CAST(${float} AS FLOAT)`;
}

/** Returns SQL for what the old column takes for a text of the new one; `undefined` if it takes the text. */
export function oldForm(
  { base }: LiveColumn,
  { column, policy }: EncryptedColumn,
): { readonly value: string; readonly where: string } | undefined {
  const name = quotedName(column.databaseName);
  if (policy.type === 'boolean' && !TEXTS.includes(base)) {
    return { value: `IF(${name} = 'true', '1', '0')`, where: `${name} IN ('true', 'false')` };
  }
  if (policy.type !== 'date' || !DATES.includes(base)) return undefined;
  const time = `REPLACE(LEFT(${name}, 23), 'T', ' ')`;
  return {
    // A day has no zone, and JavaScript reads it in UTC.
    value: base === 'date' ? `DATE(${time} - INTERVAL ${offset(name)} MINUTE)` : time,
    where: `${name} REGEXP '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}(Z|[+-][0-9]{2}:[0-9]{2})$'`,
  };
}

/** The offset in minutes at the end of a date that `data decrypt` wrote. */
function offset(name: string): string {
  const minutes = `SUBSTR(${name}, 25, 2) * 60 + SUBSTR(${name}, 28, 2)`;
  return `IF(${name} LIKE '%Z', 0, IF(SUBSTR(${name}, 24, 1) = '-', -1, 1) * (${minutes}))`;
}
