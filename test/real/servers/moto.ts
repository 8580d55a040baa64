import { randomBytes } from 'node:crypto';

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

  /** Whether it looks at the rights of whoever calls. It knows actions, and no conditions or keys. */
  async checkRights(on: boolean): Promise<void> {
    const uncheckedCalls = on ? '0' : 'inf';
    await fetch(`${this.endpoint}/moto-api/reset-auth`, { method: 'POST', body: uncheckedCalls });
  }

  /** A user with these actions and no others, and the credentials to be it. */
  async makeUser(
    actions: readonly string[],
  ): Promise<{ accessKeyId: string; secretAccessKey: string }> {
    const UserName = `user-${randomBytes(6).toString('hex')}`;
    const Statement = { Effect: 'Allow', Action: actions, Resource: '*' };
    const PolicyDocument = JSON.stringify({ Version: '2012-10-17', Statement: [Statement] });
    await this.#iam({ Action: 'CreateUser', UserName });
    await this.#iam({ Action: 'PutUserPolicy', UserName, PolicyName: 'rights', PolicyDocument });
    const made = await this.#iam({ Action: 'CreateAccessKey', UserName });
    const text = (name: string): string => new RegExp(`<${name}>(.+?)<`).exec(made)?.[1] ?? '';
    return { accessKeyId: text('AccessKeyId'), secretAccessKey: text('SecretAccessKey') };
  }

  async #iam(parameters: Record<string, string>): Promise<string> {
    const scope = 'Credential=admin/20200101/us-east-1/iam/aws4_request';
    const response = await fetch(this.endpoint, {
      method: 'POST',
      headers: { Authorization: `AWS4-HMAC-SHA256 ${scope}, SignedHeaders=host, Signature=none` },
      body: new URLSearchParams({ Version: '2010-05-08', ...parameters }),
    });
    return response.text();
  }
}
