import type { DataSource } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

/** Where the SQL of the supported databases differs. */
export interface Dialect {
  /** SQL for the 12-character header prefix of a stored value. */
  prefix(column: string, storage: 'text' | 'binary'): string;
  /** A parameter inside VALUES, whose type PostgreSQL cannot infer. */
  typed(parameter: string, column: ColumnMetadata): string;
  /** Null-safe equality. */
  same(left: string, right: string): string;
}

export function dialectOf({ driver }: DataSource): Dialect {
  return driver.options.type === 'postgres' ? postgres(driver) : sqlite;
}

function postgres(driver: DataSource['driver']): Dialect {
  return {
    prefix: (column, storage) =>
      storage === 'text'
        ? `substr(${column}, 1, 12)`
        : `translate(encode(substr(${column}, 1, 9), 'base64'), '+/', '-_')`,
    typed: (parameter, column) => `CAST(${parameter} AS ${driver.normalizeType(column)})`,
    same: (left, right) => `${left} IS NOT DISTINCT FROM ${right}`,
  };
}

const sqlite: Dialect = {
  // SQLite has no base64; the caller turns hexadecimal into the prefix.
  prefix: (column, storage) =>
    storage === 'text' ? `substr(${column}, 1, 12)` : `hex(substr(${column}, 1, 9))`,
  typed: (parameter) => parameter,
  same: (left, right) => `${left} IS ${right}`,
};
