import { CreateDataKeys1764000000000 } from './1764000000000-create-data-keys';

/**
 * The migrations of the key table, for a DataSource's `migrations`.
 *
 * @example
 * ```ts
 * new DataSource({ ..., migrations: [...fieldEncryptionMigrations, ...yourMigrations] });
 * ```
 */
export const fieldEncryptionMigrations = [CreateDataKeys1764000000000];
