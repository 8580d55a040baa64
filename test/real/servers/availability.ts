import type { PythonPackage } from './python-package';
import { installPythonPackage } from './python-package';

/** Installs a server for the test files to find, and says whether it runs here or why not. */
export function install(server: PythonPackage): string {
  const { name, version } = server;
  try {
    process.env[variable(server, 'COMMAND')] = installPythonPackage(server);
    return `${name} ${version} runs`;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.env[variable(server, 'UNAVAILABLE')] = reason;
    return `${name} ${version} cannot run: ${reason}`;
  }
}

/** `describe` on a server. One that cannot run here is reported as skipped, with the reason. */
export function describeServer(
  server: PythonPackage,
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

function variable({ name }: PythonPackage, what: 'COMMAND' | 'UNAVAILABLE'): string {
  return `FIELD_ENCRYPTION_SERVER_${name.toUpperCase().replaceAll('-', '_')}_${what}`;
}
