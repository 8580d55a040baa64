import { startPostgres } from './postgres-server';
import type { PostgresServer } from './postgres-server';

declare global {
  /** The server this run has started, for global-teardown.ts; absent when the run was given one. */
  var postgresServer: PostgresServer | undefined;
}

/**
 * Gives the tests that need one a PostgreSQL server, through FIELD_ENCRYPTION_TEST_PG_URL: the
 * caller's when it is set already, else one started for this run. When none can be started the
 * reason goes to FIELD_ENCRYPTION_TEST_PG_UNAVAILABLE, which databases.ts reports.
 */
export default async function globalSetup(): Promise<void> {
  if (process.env.FIELD_ENCRYPTION_TEST_PG_URL) {
    return;
  }
  try {
    globalThis.postgresServer = await startPostgres();
    process.env.FIELD_ENCRYPTION_TEST_PG_URL = globalThis.postgresServer.url;
  } catch (error) {
    process.env.FIELD_ENCRYPTION_TEST_PG_UNAVAILABLE = String(error);
  }
}
