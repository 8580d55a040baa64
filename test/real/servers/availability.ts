/** A key server or module that somebody else wrote, in one version. */
export interface Server {
  readonly name: string;
  readonly version: string;
  /**
   * Makes it ready on this machine, unless it is.
   *
   * @returns the path of its program or library.
   * @throws Error with one line that says what is missing
   */
  install(): string;
}

/** Installs a server for the test files to find, and says whether it runs here or why not. */
export function install(server: Server): string {
  const { name, version } = server;
  try {
    process.env[variable(server, 'COMMAND')] = server.install();
    return `${name} ${version} runs`;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.env[variable(server, 'UNAVAILABLE')] = reason;
    return `${name} ${version} cannot run: ${reason}`;
  }
}

/** `describe` on a server. One that cannot run here is reported as skipped, with the reason. */
export function describeServer(
  server: Server,
  title: string,
  body: (command: string) => void,
): void {
  const command = process.env[variable(server, 'COMMAND')];
  const label = `${title} (${server.name} ${server.version})`;
  if (command !== undefined) {
    describe(label, () => {
      body(command);
    });
    return;
  }
  const reason = process.env[variable(server, 'UNAVAILABLE')] ?? 'nobody looked for it';
  describe.skip(`${label} cannot run: ${reason}`, () => {
    it('is skipped', () => undefined);
  });
}

function variable({ name }: Server, what: 'COMMAND' | 'UNAVAILABLE'): string {
  return `FIELD_ENCRYPTION_SERVER_${name.toUpperCase().replaceAll('-', '_')}_${what}`;
}
