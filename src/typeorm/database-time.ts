import type { DataSource } from 'typeorm';

/** SQL for milliseconds since 1970, by the clock of the database at this moment, not at the beginning of a transaction. */
export function databaseTimeSql({ options }: DataSource): string {
  return options.type === 'postgres'
    ? "CAST(date_part('epoch', clock_timestamp()) * 1000 AS bigint)"
    : "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";
}
