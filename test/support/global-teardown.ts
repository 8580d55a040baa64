/** Stops the PostgreSQL server that global-setup.ts has started; it takes its files along. */
export default async function globalTeardown(): Promise<void> {
  await globalThis.postgresServer?.stop();
}
