import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { IncomingMessage, RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';

import { ConfigurationError } from '../../errors';
import { codeOf, networkFailure } from '../remote/failures';
import { TransientFailure } from '../remote/failures';

import { errorsOf, refusalOf } from './refusals';
import type { TlsOptions } from './tls-options';
import { VaultAgent } from './vault-agent';

/** A request from node-vault to its HTTP client. */
export interface TransportRequest {
  readonly method: string;
  readonly uri: string;
  readonly headers: Record<string, string>;
  readonly json?: unknown;
  readonly signal?: AbortSignal;
}

/** The reply that node-vault expects. */
export interface TransportReply {
  readonly statusCode: number;
  readonly body: unknown;
  readonly request: { readonly path: string };
}

/** Far above any answer to a request for one key. */
const DEFAULT_MAX_BODY_BYTES = 64 * 1024;

/**
 * An HTTP client for node-vault. Its own follows redirects with the token, reads bodies of any size,
 * drops `Retry-After`, and stops checking certificates if the environment says so.
 */
export class HttpTransport {
  readonly #tls: TlsOptions;
  readonly #maxBodyBytes: number;
  #http = new HttpAgent({ keepAlive: true });
  #https: VaultAgent;

  /**
   * @param tls - certificates for connections
   * @param maxBodyBytes - the longest answer to read
   */
  constructor(tls: TlsOptions, maxBodyBytes = DEFAULT_MAX_BODY_BYTES) {
    this.#tls = tls;
    this.#maxBodyBytes = maxBodyBytes;
    this.#https = new VaultAgent(tls);
  }

  /** @throws the error of `refusalOf` for an unsuccessful status; `TransientFailure` */
  async send(request: TransportRequest): Promise<TransportReply> {
    const reply = await this.#exchange(request);
    const statusCode = reply.message.statusCode ?? 0;
    if (statusCode !== 200 && statusCode !== 204) {
      throw refusalOf(statusCode, errorsOf(reply.body), reply.message.headers['retry-after']);
    }
    return {
      statusCode,
      body: statusCode === 204 ? undefined : parseJson(reply.body),
      request: { path: new URL(request.uri).pathname },
    };
  }

  /** Closes idle connections. The transport can be used again. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
    this.#http = new HttpAgent({ keepAlive: true });
    this.#https = new VaultAgent(this.#tls);
  }

  #exchange(request: TransportRequest): Promise<{ message: IncomingMessage; body: Buffer }> {
    const { method, uri, headers, json, signal } = request;
    const url = new URL(uri);
    const body = json === undefined ? undefined : Buffer.from(JSON.stringify(json));
    const isHttps = url.protocol === 'https:';
    const options: RequestOptions = {
      method,
      agent: isHttps ? this.#https : this.#http,
      headers: {
        ...headers,
        Accept: 'application/json',
        // Vault Agent can require it, against request forgery.
        'X-Vault-Request': 'true',
        ...(body === undefined
          ? {}
          : { 'Content-Type': 'application/json', 'Content-Length': String(body.length) }),
      },
      ...(signal === undefined ? {} : { signal }),
    };
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        reject(failureOf(error));
      };
      const outgoing = (isHttps ? httpsRequest : httpRequest)(url, options, (message) => {
        readBody(message, this.#maxBodyBytes).then((content) => {
          resolve({ message, body: content });
        }, fail);
      });
      outgoing.on('error', fail);
      outgoing.end(body, () => body?.fill(0));
    });
  }
}

async function readBody(message: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      message.destroy();
      throw notVault('is longer than any answer of Vault');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // Without the parser's message, which quotes the text and with it perhaps a key.
    throw notVault('is not JSON');
  } finally {
    body.fill(0);
  }
}

/**
 * Returns the error for an answer that is not from Vault.
 *
 * @param what - what is wrong with the answer
 */
export function notVault(what: string): ConfigurationError {
  return new ConfigurationError(
    `vaultKms: the answer ${what}. Check that address is that of Vault itself, and not of a proxy or a page.`,
  );
}

function failureOf(error: unknown): Error {
  if (error instanceof ConfigurationError || error instanceof TransientFailure) return error;
  return networkFailure(
    'vaultKms',
    codeOf(error) ?? 'unknown error',
    'Check the name in address, and give the certificate authority as ca or by VAULT_CACERT.',
  );
}
