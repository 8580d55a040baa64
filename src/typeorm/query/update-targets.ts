import type { ObjectLiteral } from 'typeorm';
import { SqlParameters } from '../sql-parameters';
import type { AnyQueryBuilder } from './any-query-builder';

/** What TypeORM's UpdateQueryBuilder makes its statement with. */
type UpdateBuilder = AnyQueryBuilder & {
  createCteExpression(): string;
  createWhereExpression(): string;
  replacePropertyNamesForTheWholeQuery(statement: string): string;
  getParameters(): ObjectLiteral;
};

/** TypeORM 0.3 takes parameters in the driver's notation, too. */
interface Driver {
  escapeQueryWithParameters(
    sql: string,
    parameters: ObjectLiteral,
    native: ObjectLiteral,
  ): [sql: string, values: unknown[]];
}

/** The rows that an UPDATE is about to change. */
export class UpdateTargets {
  readonly #builder: UpdateBuilder;

  /** @param builder - one that makes an UPDATE, with every parameter known. */
  constructor(builder: AnyQueryBuilder) {
    this.#builder = builder as UpdateBuilder;
  }

  /**
   * A sub-query for some columns of them, with which the condition of another statement has to begin.
   *
   * @param table - escaped, as are the columns
   */
  select(
    table: string,
    columns: readonly string[],
  ): { readonly sql: string; readonly parameters: SqlParameters } {
    const { connection } = this.#builder;
    const statement = this.#builder.replacePropertyNamesForTheWholeQuery(
      `${this.#builder.createCteExpression()}SELECT ${columns.join(', ')} FROM ${table}${this.#builder.createWhereExpression()}`,
    );
    const driver = connection.driver as unknown as Driver;
    const parameters = this.#builder.getParameters();
    const [sql, values] = driver.escapeQueryWithParameters(statement, parameters, {});
    return { sql, parameters: new SqlParameters(connection, values) };
  }
}
