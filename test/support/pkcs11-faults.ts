import * as pkcs11js from 'pkcs11js';

import type { Cryptoki } from '../../src/kms/pkcs11/cryptoki';
import type { SessionThread } from '../../src/kms/pkcs11/session-thread';
import { SessionPool } from '../../src/kms/pkcs11/session-pool';
import type { Pkcs11KmsOptions } from '../../src/kms/pkcs11/options';
import { parseOptions } from '../../src/kms/pkcs11/options';
import type { Pkcs11Kms } from '../../src/kms/pkcs11/pkcs11-provider';
import { Pkcs11KmsProvider } from '../../src/kms/pkcs11/pkcs11-provider';
import type { TokenAnswer, TokenRequest } from '../../src/kms/pkcs11/protocol';
import { toError, toFailure } from '../../src/kms/pkcs11/protocol';
import type { TokenSettings } from '../../src/kms/pkcs11/token';
import { tokenName } from '../../src/kms/pkcs11/token';
import { TokenClient } from '../../src/kms/pkcs11/token-client';

type Call = keyof Cryptoki;

/** A real module with somebody between it and the provider, who counts calls and makes some fail. */
export interface WatchedModule {
  readonly cryptoki: Cryptoki;
  /** Names of the calls, in order. */
  readonly calls: Call[];
  /** Runs before the real call, once for each entry, and may throw in its stead. */
  readonly before: Map<Call, ((...args: unknown[]) => void)[]>;
  /** Changes what the real call returns. */
  readonly after: Map<Call, (result: never) => unknown>;
}

export function watched(real: pkcs11js.PKCS11): WatchedModule {
  const module: WatchedModule = {
    calls: [],
    before: new Map(),
    after: new Map(),
    cryptoki: new Proxy(real, {
      get:
        (target, name: Call) =>
        (...args: unknown[]) => {
          module.calls.push(name);
          module.before.get(name)?.shift()?.(...args);
          const call = Reflect.get(target, name) as (...args: unknown[]) => unknown;
          const result = call.apply(target, args);
          return module.after.get(name)?.(result as never) ?? result;
        },
    }) as unknown as Cryptoki,
  };
  return module;
}

/** An error as `pkcs11js` throws them. */
function tokenError(name: string, code: number): Error {
  return new pkcs11js.Pkcs11Error(`${name}:${String(code)}`, code);
}

export function failing(name: string, code: number): () => void {
  return () => {
    throw tokenError(name, code);
  };
}

/** The provider as `pkcs11Kms` makes it, except that its threads run in this thread. */
export function openWatched(options: Pkcs11KmsOptions, module: WatchedModule): Pkcs11Kms {
  const { settings, limits, pin } = parseOptions(options);
  const pool = new SessionPool(() => new InThreadSession(settings, module.cryptoki), limits);
  return new Pkcs11KmsProvider(pool, pin, tokenName(settings));
}

class InThreadSession implements SessionThread {
  readonly ended = false;
  readonly #client: TokenClient;

  constructor(settings: TokenSettings, cryptoki: Cryptoki) {
    this.#client = new TokenClient(settings, () => cryptoki);
  }

  async run(request: TokenRequest): Promise<TokenAnswer> {
    await new Promise(setImmediate);
    try {
      return this.#client.run(structuredClone(request));
    } catch (error) {
      throw toError(toFailure(error));
    }
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}
