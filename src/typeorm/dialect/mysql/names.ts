import type { NameRules } from '../name-rules';

/** The part of TypeORM's driver that is used: the database of names without one. */
interface ConnectedDriver {
  readonly database?: string;
}

/**
 * Columns ignore case. So do tables and databases on some systems (`lower_case_table_names`), and taking two
 * names for one is safer than the other way round.
 */
export const mysqlNames: NameRules = {
  tablePlace: ({ driver }, table, database = (driver as ConnectedDriver).database ?? '') =>
    JSON.stringify([database.toLowerCase(), table.toLowerCase()]),
  columnPlace: (column) => column.toLowerCase(),
};

/** Returns the name of a table, perhaps with its database, in quotes. */
export function quotedPath(tablePath: string): string {
  return tablePath.split('.').map(quotedName).join('.');
}

/** Returns a name in quotes. */
export function quotedName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
