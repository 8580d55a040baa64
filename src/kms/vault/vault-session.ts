import type { RemoteCalls } from '../remote/remote-calls';

import { notVault } from './http-transport';
import { VaultRefusal } from './refusals';
import { RefusedLogins } from './token-source';
import type { Lease, TokenSource } from './token-source';
import type { VaultClient } from './vault-client';

/** The part of a token's life after which it is renewed, so that there is time for retries. */
const RENEW_AT = 2 / 3;
/** If a renewed lease is shorter than this part of the first one, its end is near: log in again. */
const WORTH_RENEWING = 1 / 2;
/** How long after a new token a denial counts as the policy's, and not as a revoked token. */
const BETWEEN_DENIALS_MS = 10_000;
const SHORTEST_WAIT_MS = 1_000;
/** The longest timer of Node.js. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

interface Held extends Lease {
  readonly expiresAt: number;
  /** Life of the token when it was new. */
  readonly fullTtlMs: number;
}

/** A session that provides a token: it logs in, renews the token before it expires, and logs in again. */
export class VaultSession {
  readonly #client: VaultClient;
  readonly #calls: RemoteCalls;
  readonly #source: TokenSource;
  #held: Held | undefined;
  #login: Promise<Held> | undefined;
  readonly #refused = new RefusedLogins();
  /** When a new token was fetched because one was denied. */
  #lastDenial = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(client: VaultClient, calls: RemoteCalls, source: TokenSource) {
    this.#client = client;
    this.#calls = calls;
    this.#source = source;
  }

  /** @throws {@link ConfigurationError} for credentials that are refused; {@link KmsUnavailableError} */
  async token(): Promise<string> {
    const held = this.#held;
    const isFresh =
      held !== undefined && (performance.now() < held.expiresAt || !this.#source.again);
    return (isFresh ? held : await this.#logIn()).token;
  }

  /** When the current token ends for good; undefined if it can be renewed or replaced. */
  get endsAt(): Date | undefined {
    const held = this.#held;
    if (held === undefined || held.renewable || this.#source.again) return undefined;
    if (held.expiresAt === Infinity) return undefined;
    return new Date(Date.now() + held.expiresAt - performance.now());
  }

  /** Returns another token than the refused one; undefined if there is none. */
  async tokenAfter(refused: string): Promise<string | undefined> {
    if (!this.#source.again) return undefined;
    // Another call may have logged in while the refused one was under way.
    if (this.#holds(refused)) {
      // A new token was just denied, too: another one would not help.
      const now = performance.now();
      const isSoon = now - this.#lastDenial < BETWEEN_DENIALS_MS;
      if (isSoon && !(await this.#isReplaced(refused))) return undefined;
      if (this.#holds(refused)) {
        this.#lastDenial = now;
        this.#forget();
      }
    }
    const { token } = this.#held ?? (await this.#logIn());
    return token === refused ? undefined : token;
  }

  #holds(token: string): boolean {
    return this.#held?.token === token;
  }

  /** Whether the application supplies another token by now. A login would have to be made to tell. */
  async #isReplaced(token: string): Promise<boolean> {
    if (!this.#source.isGiven) return false;
    const request = await this.#calls.within(() => this.#source.prepare());
    return 'token' in request && request.token !== token;
  }

  /** Forgets the token. */
  close(): void {
    this.#forget();
    this.#refused.forget();
    this.#lastDenial = -Infinity;
    this.#closed = true;
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#held = undefined;
  }

  /** Logs in once for all who wait. */
  #logIn(): Promise<Held> {
    this.#closed = false;
    this.#login ??= this.#logInAlone().finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  async #logInAlone(): Promise<Held> {
    const request = await this.#calls.within(() => this.#source.prepare());
    const lease =
      'token' in request
        ? await this.#lookUp(request.token)
        : await this.#postLogin(request.path, request.body);
    return this.#hold(lease, lease.ttlMs);
  }

  async #postLogin(path: string, body: object): Promise<Lease> {
    this.#refused.require(path, body);
    try {
      const lease = await this.#calls.run(async (signal) =>
        parseLease(await this.#client.write(path, body, { token: undefined, signal })),
      );
      this.#refused.forget();
      return lease;
    } catch (error) {
      if (!(error instanceof VaultRefusal)) throw error;
      throw this.#refused.remember(path, body, error.status);
    }
  }

  /** Finds out when a supplied token expires. If the policy forbids to ask, the token is just used. */
  async #lookUp(token: string): Promise<Lease> {
    try {
      return await this.#calls.run(async (signal) =>
        parseLookUp(token, await this.#client.read('auth/token/lookup-self', { token, signal })),
      );
    } catch (error) {
      if (!(error instanceof VaultRefusal)) throw error;
      return { token, ttlMs: Infinity, renewable: false };
    }
  }

  #hold(lease: Lease, fullTtlMs: number): Held {
    const held: Held = { ...lease, fullTtlMs, expiresAt: performance.now() + lease.ttlMs };
    if (this.#closed) return held;
    this.#held = held;
    this.#schedule(held, lease.ttlMs * RENEW_AT);
    return held;
  }

  #schedule(held: Held, ms: number): void {
    clearTimeout(this.#timer);
    if (ms > LONGEST_WAIT_MS || (!held.renewable && !this.#source.again)) return;
    this.#timer = setTimeout(() => void this.#prolong(held), Math.max(ms, SHORTEST_WAIT_MS));
    this.#timer.unref();
  }

  async #prolong(held: Held): Promise<void> {
    try {
      const lease = held.renewable ? await this.#renew(held) : undefined;
      const isWorthIt = lease !== undefined && lease.ttlMs >= held.fullTtlMs * WORTH_RENEWING;
      if (isWorthIt || (lease !== undefined && !this.#source.again)) this.#replace(held, lease);
      else if (this.#source.again) await this.#logIn();
    } catch {
      // The next caller that needs the token gets the error; until then there may be time for a retry.
      const left = held.expiresAt - performance.now();
      if (this.#held === held && left > SHORTEST_WAIT_MS) this.#schedule(held, left / 2);
    }
  }

  #replace(held: Held, lease: Lease): void {
    if (this.#held === held) this.#hold(lease, held.fullTtlMs);
  }

  /** Renews the token; undefined if Vault refuses: it is gone, or not renewable. */
  async #renew({ token }: Held): Promise<Lease | undefined> {
    try {
      const lease = await this.#calls.run(async (signal) =>
        parseLease(await this.#client.write('auth/token/renew-self', {}, { token, signal })),
      );
      // Here 0 does not mean forever: less than a second is left of the token's maximum life.
      return lease.ttlMs === Infinity ? { ...lease, ttlMs: 0 } : lease;
    } catch (error) {
      if (error instanceof VaultRefusal) return undefined;
      throw error;
    }
  }
}

function parseLease(reply: unknown): Lease {
  const auth: unknown =
    typeof reply === 'object' && reply !== null && 'auth' in reply ? reply.auth : undefined;
  if (typeof auth !== 'object' || auth === null) throw notVault('to the login has no token');
  const fields = auth as Record<string, unknown>;
  const token = fields['client_token'];
  if (typeof token !== 'string' || token === '') throw notVault('to the login has no token');
  return {
    token,
    ttlMs: ttlMs(fields['lease_duration']),
    renewable: fields['renewable'] === true,
  };
}

function parseLookUp(token: string, reply: unknown): Lease {
  const data: unknown =
    typeof reply === 'object' && reply !== null && 'data' in reply ? reply.data : undefined;
  const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
  return { token, ttlMs: ttlMs(fields['ttl']), renewable: fields['renewable'] === true };
}

/** Reads a time to live, which is 0 for a token that does not expire. */
function ttlMs(seconds: unknown): number {
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : Infinity;
}
