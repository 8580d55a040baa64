/** Conditions on the form that a table has when a migration runs, by which its steps can be repeated. */
export class TableConditions {
  readonly #table: string;

  /** @param tablePath - the table, with its database if that is not the one of the connection. */
  constructor(tablePath: string) {
    const [table = '', database] = tablePath.split('.').reverse();
    const schema = database === undefined ? 'DATABASE()' : quotedText(database);
    this.#table = `table_schema = ${schema} AND table_name = ${quotedText(table)}`;
  }

  /** Whether the table has a column, for which a condition on `information_schema.columns` holds. */
  column(name: string, condition?: string): string {
    return this.#exists('columns', [`column_name = ${quotedText(name)}`, condition]);
  }

  index(name: string): string {
    return this.#exists('statistics', [`index_name = ${quotedText(name)}`]);
  }

  check(name: string): string {
    return this.#exists('table_constraints', [
      `constraint_name = ${quotedText(name)}`,
      `constraint_type = 'CHECK'`,
    ]);
  }

  #exists(view: string, conditions: readonly (string | undefined)[]): string {
    const all = [this.#table, ...conditions.filter((each) => each !== undefined)];
    return `EXISTS (SELECT 1 FROM information_schema.${view} WHERE ${all.join(' AND ')})`;
  }
}

/** Returns the query that returns a row if a condition is true. */
export function queryWhether(condition: string): string {
  return `SELECT 1 FROM DUAL WHERE ${condition}`;
}

export function not(condition: string): string {
  return `NOT (${condition})`;
}

/** Returns a text in quotes. */
export function quotedText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
