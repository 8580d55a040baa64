import { ConfigurationError } from '../errors';
import { describeColumn } from '../typeorm/encrypted-column';
import type { EncryptedColumn } from '../typeorm/encrypted-column';

/** The error of a column that no migration can be generated for. */
export function columnRefused(encrypted: EncryptedColumn, problem: string): ConfigurationError {
  const { entity, property } = encrypted.policy;
  return new ConfigurationError(`${describeColumn(encrypted)}: ${problem}`, { entity, property });
}
