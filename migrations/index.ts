import { CreateDataKeys1764000000000 } from './1764000000000-create-data-keys';
import { CreateRuns1764000001000 } from './1764000001000-create-runs';

/**
 * The migrations of the library's own tables, for a DataSource's `migrations`.
 *
 * @example
 * ```ts
 * new DataSource({ ..., migrations: [...fieldEncryptionMigrations, ...yourMigrations] });
 * ```
 */
export const fieldEncryptionMigrations = [CreateDataKeys1764000000000, CreateRuns1764000001000];
