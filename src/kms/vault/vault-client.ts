import { loadPeer } from '../remote/optional-peer';
import type { Require } from '../remote/optional-peer';

import { HttpTransport } from './http-transport';
import type { TransportReply, TransportRequest } from './http-transport';
import type { TlsOptions } from './tls-options';

/** The part of node-vault in use. */
interface NodeVault {
  token: string;
  namespace: string;
  read(path: string, options: object): Promise<unknown>;
  write(path: string, data: object, options: object): Promise<unknown>;
}

type NodeVaultFactory = (config: object) => NodeVault;

/** The server and how to connect to it. */
export interface VaultPlace {
  readonly address: string;
  readonly namespace: string | undefined;
  readonly tls: TlsOptions;
  /** The longest answer to read, in bytes. Defaults to 64 KiB. */
  readonly maxBodyBytes?: number;
}

/** The token and the signal of a call. */
export interface CallOptions {
  /** Undefined for logins. */
  readonly token: string | undefined;
  readonly signal: AbortSignal;
}

/** A client of Vault through node-vault, which is loaded at the first call. */
export class VaultClient {
  readonly #place: VaultPlace;
  readonly #transport: HttpTransport;
  readonly #require: Require | undefined;
  #client: NodeVault | undefined;

  constructor(place: VaultPlace, require_?: Require) {
    this.#place = place;
    this.#transport = new HttpTransport(place.tls, place.maxBodyBytes);
    this.#require = require_;
  }

  read(path: string, options: CallOptions): Promise<unknown> {
    return this.#connected().read(path, this.#requestOptions(options));
  }

  write(path: string, data: object, options: CallOptions): Promise<unknown> {
    return this.#connected().write(path, data, this.#requestOptions(options));
  }

  /** Reads a path that only the root namespace has and that needs no token. */
  readRoot(path: string, signal: AbortSignal): Promise<unknown> {
    return this.#connected().read(path, { signal, headers: {} });
  }

  close(): void {
    this.#transport.close();
  }

  #connected(): NodeVault {
    this.#client ??= this.#connect();
    return this.#client;
  }

  #connect(): NodeVault {
    const factory = loadPeer('vaultKms', 'node-vault', this.#require) as NodeVaultFactory;
    const send = (request: TransportRequest): Promise<TransportReply> =>
      this.#transport.send(request);
    const client = factory({
      endpoint: this.#place.address,
      'request-promise': { defaults: () => send },
      // Its own prints every request, with keys and passwords, if DEBUG says so.
      debug: () => undefined,
    });
    // Clears what it took from the environment: each call brings its own, and a login has no token.
    client.token = '';
    client.namespace = '';
    return client;
  }

  #requestOptions({ token, signal }: CallOptions): object {
    const { namespace } = this.#place;
    return {
      signal,
      headers: {
        ...(token === undefined ? {} : { 'X-Vault-Token': token }),
        ...(namespace === undefined ? {} : { 'X-Vault-Namespace': namespace }),
      },
    };
  }
}
