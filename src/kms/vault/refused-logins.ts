import { createHmac, randomBytes } from 'node:crypto';

import { ConfigurationError } from '../../errors';
import { showing } from '../remote/evidence';

/** Vault locks a user out after five wrong logins in a quarter of an hour, by default. */
const PAUSES_MS = [60_000, 240_000, 900_000] as const;

/**
 * Logins that were refused. The same credentials are tried again after a while only, others at once:
 * servers count mistakes, and lock accounts.
 */
export class RefusedLogins {
  readonly #digestKey = randomBytes(32);
  #digest: string | undefined;
  #error: ConfigurationError | undefined;
  #until = 0;
  #count = 0;

  /** @throws {@link ConfigurationError} for credentials that were refused a while ago */
  require(path: string, body: object): void {
    if (this.#error === undefined || this.#digest !== this.#digestOf(path, body)) return;
    if (performance.now() < this.#until) throw this.#error;
  }

  /** @returns the error to throw */
  remember(path: string, body: object, status: number): ConfigurationError {
    const digest = this.#digestOf(path, body);
    this.#count = digest === this.#digest ? this.#count + 1 : 1;
    this.#digest = digest;
    const pause = PAUSES_MS[Math.min(this.#count, PAUSES_MS.length) - 1] ?? PAUSES_MS[2];
    this.#until = performance.now() + pause;
    const error = new ConfigurationError(
      `vaultKms: the login at ${path.replace(/\/login\/.*/, '/login')} is refused (status ${String(status)}). ` +
        'Check the credentials, the role and auth.mount. Others are tried at once, these again after ' +
        `${String(pause / 60_000)} min, because accounts lock after a few wrong logins.`,
    );
    this.#error = showing(error, { reachable: true, authenticated: false });
    return this.#error;
  }

  /** Lets the same credentials be tried at once. */
  forget(): void {
    this.#error = undefined;
    this.#digest = undefined;
    this.#count = 0;
  }

  /** Nothing outside this object can compare with it. */
  #digestOf(path: string, body: object): string {
    const text = JSON.stringify([path, body]);
    return createHmac('sha256', this.#digestKey).update(text).digest('base64');
  }
}
