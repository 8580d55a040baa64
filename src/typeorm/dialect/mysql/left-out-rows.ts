import type { QueryResult } from 'typeorm';

import { ConfigurationError } from '../../../errors';

/**
 * Refuses what `INSERT IGNORE` has made warnings of, other than one for each row that is there: it cuts values that
 * are too long, in strict mode, too.
 *
 * @throws {@link ConfigurationError}
 */
export function requireOnlyLeftOut({ raw, affected = 0 }: QueryResult, rows: number): void {
  const { warningStatus } = raw as { readonly warningStatus: number };
  if (warningStatus <= rows - affected) return;
  throw new ConfigurationError(
    'The database has changed a value of a row in a table of this library instead of refusing it, so that the row ' +
      'proves nothing. Compare the columns of the table with those that fieldEncryptionMigrations create, and look for triggers.',
  );
}
