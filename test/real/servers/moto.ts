import type { Server } from './availability';
import { pythonProgram } from './python-package';
import { freePort, ServerProcess } from './server-process';

/** Emulates AWS in memory, KMS and IAM among it. */
export const MOTO: Server = pythonProgram('moto_server', {
  name: 'moto',
  version: '5.2.5',
  requirement: 'moto[server]',
});

/** A moto server, empty at its start. */
export class Moto {
  readonly endpoint: string;
  readonly process: ServerProcess;

  private constructor(command: string, port: number) {
    this.endpoint = `http://127.0.0.1:${String(port)}`;
    this.process = new ServerProcess(command, ['-H', '127.0.0.1', '-p', String(port)]);
  }

  static async start(command: string): Promise<Moto> {
    const server = new Moto(command, await freePort());
    await server.process.ready(
      async () => (await fetch(`${server.endpoint}/moto-api/data.json`)).ok,
    );
    return server;
  }
}
