/**
 * Tells the statements that builders of a wrapped DataSource have made, and checked, from those of
 * others, such as a second copy of TypeORM: all of them pass the driver.
 */
export class CheckedStatements {
  #last = '';

  /** A builder hands its statement to the driver next. */
  add(sql: string): string {
    this.#last = sql;
    return sql;
  }

  /** Whether it is the statement that was made last, or that with something put around it. */
  has(sql: string): boolean {
    return this.#last !== '' && sql.includes(this.#last);
  }
}
