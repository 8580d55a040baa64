import { ConfigurationError } from '../../errors';
import type { KeyAnchor } from '../anchor/key-anchor';
import type { KeyStore } from '../store/key-store';

/** The existence of the key table, looked up until it is found. */
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

  /** Whether the table exists; if so, its anchor is checked before a key is used. */
  async isReady(connection?: C): Promise<boolean> {
    if (!(await this.exists(connection))) return false;
    await this.#anchor?.check(connection);
    return true;
  }

  /** {@link KeyTable.require} with a check of the anchor, for operations that need the KMS. */
  async requireReady(): Promise<void> {
    if (!(await this.isReady())) throw keyTableMissing();
  }

  /** @throws {@link ConfigurationError} while the table does not exist */
  async require(connection?: C): Promise<void> {
    if (!(await this.exists(connection))) throw keyTableMissing();
  }

  /** Forgets that the table exists. */
  forget(): void {
    this.#seen = false;
  }
}

/** For a database without the key table. */
export function keyTableMissing(): ConfigurationError {
  return new ConfigurationError(
    'the key table does not exist in this database. Add fieldEncryptionMigrations to the ' +
      'DataSource and run its migrations, or run `field-encryption init`.',
  );
}
