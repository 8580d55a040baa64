import { ConfigurationError, KmsUnavailableError } from '../../errors';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { healthOf, withEvidence } from '../remote/health';

import { askPin, rememberRefused, requireUnrefused } from './pin';
import type { Pin } from './pin';
import type { RequestOf, TokenAnswers, TokenRequest } from './protocol';
import type { SessionPool } from './session-pool';
import { NotLoggedIn, PinRefused } from './token-errors';

/** A {@link KmsProvider} whose KEK is in an HSM and can have several versions. */
export interface Pkcs11Kms extends KmsProvider {
  /**
   * Makes the next version of the KEK in the token, which wraps every key from then on; other processes
   * notice within a minute. Older versions remain to unwrap what they have wrapped, until everything is
   * rewrapped.
   *
   * @returns the reference of the new KEK in key records
   * @throws {@link ConfigurationError} if the user may not make keys; {@link KmsUnavailableError}
   */
  rotateKek(): Promise<string>;
}

/** A provider that calls the token through a pool of threads, and logs in when one is not logged in. */
export class Pkcs11KmsProvider implements Pkcs11Kms {
  readonly name = 'pkcs11';
  readonly #pool: SessionPool;
  readonly #pin: Pin;
  /** Tells tokens apart in the record of refused PINs. */
  readonly #tokenName: string;
  #login: Promise<void> | undefined;
  #logins = 0;

  constructor(pool: SessionPool, pin: Pin, tokenName: string) {
    this.#pool = pool;
    this.#pin = pin;
    this.#tokenName = tokenName;
  }

  wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    return this.#run({ kind: 'wrap', key, binding: plain(binding) });
  }

  unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    return this.#run({ kind: 'unwrap', wrapped, binding: plain(binding) });
  }

  rotateKek(): Promise<string> {
    return this.#run({ kind: 'rotateKek' });
  }

  health(): Promise<KmsHealth> {
    return healthOf(() =>
      this.#run({ kind: 'health' }).catch((error: unknown) => {
        throw error instanceof KmsUnavailableError
          ? withEvidence(error, { reachable: false })
          : error;
      }),
    );
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #run<K extends TokenRequest['kind']>(request: RequestOf<K>): Promise<TokenAnswers[K]> {
    const loginsBefore = this.#logins;
    try {
      return await this.#pool.run<K>(request);
    } catch (error) {
      if (!(error instanceof NotLoggedIn)) throw error;
    }
    // Another request may have logged in meanwhile.
    if (this.#logins === loginsBefore) await this.#logIn();
    return this.#pool.run<K>(request).catch((error: unknown) => {
      if (!(error instanceof NotLoggedIn)) throw error;
      throw new KmsUnavailableError('pkcs11Kms: the token logged out right after the login.');
    });
  }

  /** Logs in once for all who wait: a wrong PIN must count once. */
  #logIn(): Promise<void> {
    this.#login ??= this.#logInAlone().finally(() => {
      this.#login = undefined;
    });
    return this.#login;
  }

  async #logInAlone(): Promise<void> {
    const pin = await askPin(this.#pin);
    requireUnrefused(this.#tokenName, pin);
    try {
      await this.#pool.run<'login'>({ kind: 'login', pin });
      this.#logins += 1;
    } catch (error) {
      if (!(error instanceof PinRefused)) throw error;
      rememberRefused(this.#tokenName, pin);
      const refused = new ConfigurationError(error.message, { cause: error.cause });
      throw withEvidence(refused, { reachable: true, authenticated: false });
    }
  }
}

/** Picks the properties of a binding: others might not survive being sent to a thread. */
function plain({ application, keyId, keyName, purpose }: KeyBinding): KeyBinding {
  return { application, keyId, keyName, purpose };
}
