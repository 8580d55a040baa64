/**
 * The statements that builders of a wrapped DataSource have built and checked. Those of others, such as a
 * second copy of TypeORM, pass through the same driver.
 */
export class CheckedStatements {
  #last = '';

  /** Notes a statement that its builder hands to the driver next. */
  add(sql: string): string {
    this.#last = sql;
    return sql;
  }

  /** Whether this is the statement that was built last, perhaps with something put around it. */
  has(sql: string): boolean {
    return this.#last !== '' && sql.includes(this.#last);
  }
}
