import { request as httpRequest } from 'node:http';
import type { RequestOptions } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';

import { ConfigurationError } from '../../errors';
import { codeOf } from '../remote/failures';
import { TransientFailure } from '../remote/failures';

import { proxyFor } from './proxy';
import type { TlsOptions } from './tls-options';

type OnSocket = (error: Error | null, socket: Duplex) => void;

/** Milliseconds that a proxy may take to connect. */
const PROXY_TIMEOUT_MS = 30_000;

/**
 * An agent for TLS connections to Vault, through a proxy if the environment names one. It reads the
 * certificates again for each connection, so that renewed ones are used.
 */
export class VaultAgent extends Agent {
  readonly #tls: TlsOptions;

  constructor(tls: TlsOptions) {
    super({ keepAlive: true, rejectUnauthorized: true });
    this.#tls = tls;
  }

  override createConnection(options: RequestOptions, onSocket: OnSocket): Duplex | undefined {
    this.#connect(options).then(
      (socket) => {
        onSocket(null, socket);
      },
      (error: unknown) => {
        // The type demands a socket, and there is none.
        onSocket(error as Error, undefined as unknown as Duplex);
      },
    );
    return undefined;
  }

  async #connect(options: RequestOptions): Promise<Duplex> {
    const secured = { ...options, ...(await this.#tls.read()) };
    const proxy = proxyFor(serverOf(options));
    const tunnel = proxy === undefined ? {} : { socket: await tunnelThrough(proxy, options) };
    const socket = super.createConnection({ ...secured, ...tunnel });
    if (socket === null || socket === undefined)
      throw new TransientFailure('no connection was made');
    return socket;
  }
}

function serverOf({ host, port }: RequestOptions): URL {
  const name = host ?? '';
  return new URL(`https://${name.includes(':') ? `[${name}]` : name}:${String(port ?? 443)}`);
}

/** Connects through the proxy; TLS is then negotiated with the server itself. */
function tunnelThrough(proxy: URL, options: RequestOptions): Promise<Duplex> {
  const { host: target } = serverOf(options);
  const path = target.includes(':') && !target.endsWith(']') ? target : `${target}:443`;
  const request = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const connecting = request(proxy, {
      ...{ method: 'CONNECT', path, agent: false, timeout: PROXY_TIMEOUT_MS },
      headers: { Host: path, ...credentialsOf(proxy) },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    connecting.on('connect', ({ statusCode = 0 }, socket) => {
      if (statusCode === 200) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(proxyRefused(statusCode));
    });
    connecting.on('response', ({ statusCode = 0 }) => {
      connecting.destroy();
      reject(proxyRefused(statusCode));
    });
    connecting.on('timeout', () => connecting.destroy());
    connecting.on('error', (error) => {
      const code = codeOf(error) ?? 'no answer';
      reject(new TransientFailure(`the proxy of HTTPS_PROXY is not reached (${code})`));
    });
    connecting.end();
  });
}

function credentialsOf({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

function proxyRefused(status: number): Error {
  const what = `the proxy of HTTPS_PROXY refuses to connect (status ${String(status)})`;
  if (status >= 500 || status === 429) return new TransientFailure(what);
  return new ConfigurationError(
    `vaultKms: ${what}. Check its credentials and rules, or name the server in NO_PROXY.`,
  );
}
