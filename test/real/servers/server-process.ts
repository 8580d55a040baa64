import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_TIMEOUT_MS = 60_000;

/** A server of somebody else's in a process of its own, which ends with this one. */
export class ServerProcess {
  readonly #child: ChildProcess;
  #output = '';

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    }
    process.once('exit', () => this.#child.kill('SIGKILL'));
  }

  /** Waits until a probe passes. @throws Error with the output of a server that ended or never got ready */
  async ready(probe: () => Promise<boolean>): Promise<void> {
    const until = performance.now() + READY_TIMEOUT_MS;
    while (this.#child.exitCode === null && performance.now() < until) {
      if (await probe().catch(() => false)) return;
      await sleep(100);
    }
    throw new Error(`the server did not get ready:\n${this.#output}`);
  }

  /** Freezes the server: connections are accepted and nothing is answered. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
