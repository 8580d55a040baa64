import { OWN_TABLES } from '../../src/typeorm/tables/own-tables';

/** Returns the columns of one of the library's own tables, without those that the database computes. */
export function ownColumns(table: string): string[] {
  const own = OWN_TABLES.find(({ schema }) => schema.options.tableName === table);
  if (own === undefined) throw new Error(`${table} is no table of the library.`);
  return Object.entries(own.schema.options.columns).map(
    ([property, column]) => column?.name ?? property,
  );
}

/** Returns SQL that copies rows into one of the library's own tables. */
export function copyRows(from: string, table: string): string {
  const columns = ownColumns(table).join(', ');
  return `INSERT INTO ${table} (${columns}) SELECT ${columns} FROM ${from}`;
}
