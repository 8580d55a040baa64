import { randomBytes } from 'node:crypto';
import type { DataSource, DataSourceOptions } from 'typeorm';

/** A role of PostgreSQL, or a user of MySQL, with no more rights than a test gives it. */
export class DatabaseRole {
  readonly #owner: DataSource;
  readonly #name = `role_${randomBytes(6).toString('hex')}`;

  private constructor(owner: DataSource) {
    this.#owner = owner;
  }

  /** @param grants - what is granted to it, without the `TO`. */
  static async create(owner: DataSource, grants: readonly string[]): Promise<DatabaseRole> {
    const role = new DatabaseRole(owner);
    await owner.query(
      role.#isOfPostgres
        ? `CREATE ROLE ${role.#name} LOGIN PASSWORD '${role.#name}'`
        : `CREATE USER ${role.#name} IDENTIFIED BY '${role.#name}'`,
    );
    for (const grant of grants) await owner.query(`${grant} TO ${role.#name}`);
    return role;
  }

  /** Options of a DataSource that connects as this role. */
  get options(): DataSourceOptions {
    const url = new URL((this.#owner.options as { url: string }).url);
    url.username = url.password = this.#name;
    return { ...this.#owner.options, url: url.href, synchronize: false } as DataSourceOptions;
  }

  async drop(): Promise<void> {
    if (this.#isOfPostgres) await this.#owner.query(`DROP OWNED BY ${this.#name}`);
    await this.#owner.query(`DROP ${this.#isOfPostgres ? 'ROLE' : 'USER'} ${this.#name}`);
  }

  get #isOfPostgres(): boolean {
    return this.#owner.options.type === 'postgres';
  }
}
