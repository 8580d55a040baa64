import type { NameRules } from '../name-rules';

/** The part of TypeORM's driver that is used: the schema of names without one. */
interface SearchingDriver {
  readonly searchSchema?: string;
}

export const postgresNames: NameRules = {
  // A database in front of the schema can only be the one that is connected to.
  tablePlace: ({ driver }, table, schema = (driver as SearchingDriver).searchSchema) =>
    JSON.stringify([schema, table]),
  columnPlace: (column) => column,
};

/** Returns a name in quotes. */
export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
