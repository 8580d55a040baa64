import { startMariadb } from './mariadb-server';
import { startPostgres } from './postgres-server';
import type { TestServer } from './server-process';

declare global {
  /** The servers this run has started, for global-teardown.ts. */
  var testServers: TestServer[] | undefined;
}

/**
 * Gives the tests that need them a PostgreSQL and a MariaDB server, through FIELD_ENCRYPTION_TEST_PG_URL
 * and FIELD_ENCRYPTION_TEST_MYSQL_URL: the caller's when it is set already, else one started for this
 * run. When none can be started the reason goes to the variable of the same name that ends in
 * UNAVAILABLE, which databases.ts reports.
 */
export default async function globalSetup(): Promise<void> {
  globalThis.testServers = [];
  await Promise.all([
    provide('FIELD_ENCRYPTION_TEST_PG', startPostgres),
    provide('FIELD_ENCRYPTION_TEST_MYSQL', startMariadb),
  ]);
}

async function provide(variable: string, start: () => Promise<TestServer>): Promise<void> {
  if (process.env[`${variable}_URL`]) return;
  try {
    const server = await start();
    globalThis.testServers?.push(server);
    process.env[`${variable}_URL`] = server.url;
  } catch (error) {
    process.env[`${variable}_UNAVAILABLE`] = String(error);
  }
}
