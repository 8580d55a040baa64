import { ConfigurationError } from '../../errors';
import type { KeyAnchor } from '../anchor/key-anchor';
import type { KeyStore } from '../store/key-store';

/** Whether the key table is there. Once seen, it is not asked for again. */
export class KeyTable<C> {
  readonly #store: KeyStore<C>;
  readonly #anchor: Pick<KeyAnchor<C>, 'check'> | undefined;
  #seen = false;

  constructor(store: KeyStore<C>, anchor?: Pick<KeyAnchor<C>, 'check'>) {
    this.#store = store;
    this.#anchor = anchor;
  }

  async exists(connection?: C): Promise<boolean> {
    this.#seen ||= await this.#store.exists(connection);
    return this.#seen;
  }

  /** {@link KeyTable.exists}, and where it does, what its anchor knows is taken in before a key is used. */
  async isReady(connection?: C): Promise<boolean> {
    if (!(await this.exists(connection))) return false;
    await this.#anchor?.check(connection);
    return true;
  }

  /** {@link KeyTable.require}, and what its anchor knows is taken in: for what needs the KMS. */
  async requireReady(): Promise<void> {
    if (!(await this.isReady())) throw keyTableMissing();
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
