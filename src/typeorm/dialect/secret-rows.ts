/**
 * Returns which columns of a table, by a list of their names, must not be quoted in an error; `undefined` for a
 * table that may be. `table` is its name in the error, if there is one.
 */
export type SecretsOf = (table: unknown) => ((columns: string) => boolean) | undefined;
