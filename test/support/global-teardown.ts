/** Stops the servers that global-setup.ts has started; they take their files along. */
export default async function globalTeardown(): Promise<void> {
  await Promise.all((globalThis.testServers ?? []).map((server) => server.stop()));
}
