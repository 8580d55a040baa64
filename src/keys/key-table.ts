import { ConfigurationError } from '../errors';
import type { KeyStore } from './key-store';

/** Whether the key table is there. Once seen, it is not asked for again. */
export class KeyTable<C> {
  readonly #store: KeyStore<C>;
  #seen = false;

  constructor(store: KeyStore<C>) {
    this.#store = store;
  }

  async exists(connection?: C): Promise<boolean> {
    this.#seen ||= await this.#store.exists(connection);
    return this.#seen;
  }

  /** @throws {@link ConfigurationError} while the table does not exist */
  async require(): Promise<void> {
    if (!(await this.exists())) throw keyTableMissing();
  }

  /** Asks again at the next occasion. */
  forget(): void {
    this.#seen = false;
  }
}

/** Says what to do about a database without the key table. */
export function keyTableMissing(): ConfigurationError {
  return new ConfigurationError(
    'the key table does not exist in this database. Add fieldEncryptionMigrations to the ' +
      'DataSource and run its migrations, or run `field-encryption init`.',
  );
}
