import type { DataSource } from 'typeorm';

/** The parameters of one hand-written statement, in the driver's own notation. */
export class SqlParameters {
  readonly values: unknown[];
  readonly #driver: DataSource['driver'];

  /** @param values - those of SQL, in the driver's notation, that the statement begins with. */
  constructor({ driver }: DataSource, values: readonly unknown[] = []) {
    this.#driver = driver;
    this.values = [...values];
  }

  /** Adds a value and returns its placeholder. Call it in the order of the statement. */
  add(value: unknown): string {
    this.values.push(value);
    return this.#driver.createParameter('p', this.values.length - 1);
  }

  /** Adds several values and returns their placeholders, separated by commas. */
  list(values: readonly unknown[]): string {
    return values.map((value) => this.add(value)).join(', ');
  }
}
