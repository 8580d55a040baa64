import type { QueryRunner } from 'typeorm';

import { ConfigurationError } from '../../errors';
import { dialectOf } from '../dialect/dialect-of';

/**
 * Requires a connection on which a key is read to read what is committed: a session can be changed in ways that no
 * statement shows.
 *
 * @throws {@link ConfigurationError}
 */
export async function requireCommittedReads(runner: QueryRunner): Promise<void> {
  if ((await dialectOf(runner.connection).transactions.readsUncommitted?.(runner)) === true)
    throw uncommittedRefused();
}

/**
 * Refuses a statement that lets a transaction read what others have not committed.
 *
 * @throws {@link ConfigurationError}
 */
export function requireNoUncommittedReads({ connection }: QueryRunner, sql: string): void {
  if (dialectOf(connection).transactions.letsReadUncommitted?.(sql) === true)
    throw uncommittedRefused();
}

function uncommittedRefused(): ConfigurationError {
  return new ConfigurationError(
    'READ UNCOMMITTED is refused for a DataSource with field encryption: a key might be read that is rolled back ' +
      'later, and nothing written with it could be read again. Use READ COMMITTED or a higher isolation.',
  );
}
