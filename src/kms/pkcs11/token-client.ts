import { ConfigurationError, KeyUnwrapError } from '../../errors';
import type { KmsHealth, WrappedKey } from '../kms-provider';

import type { Cryptoki, Session } from './cryptoki';
import { kekLabel, kekReference, probe } from './kek';
import type { Kek } from './kek';
import { associatedData, header, parseWrapped } from './key-wrap';
import type { WrappedForm } from './key-wrap';
import type { RequestOf, TokenAnswer, TokenRequest } from './protocol';
import { withRetries } from './retries';
import { kindOfFailure, mayBeOfTheKey } from './return-value';
import type { TokenSettings } from './token';
import { TokenConnection } from './token-connection';
import type { Ready } from './token-connection';
import { asKmsError, keepsSession } from './token-errors';

/** How long a process may wrap under a KEK after a newer one was made elsewhere. */
const LOOK_AGAIN_MS = 60_000;
const ANSWERED = { reachable: true, authenticated: true } as const;

/** The requests of a thread on its one session. All methods block. */
export class TokenClient {
  readonly #settings: TokenSettings;
  readonly #connection: TokenConnection;
  readonly #now: () => number;
  #lookedAt = 0;
  /** The highest version ever seen; 0 for none. */
  #newestVersion = 0;

  constructor(
    settings: TokenSettings,
    load: () => Cryptoki,
    now: () => number = () => performance.now(),
  ) {
    this.#settings = settings;
    this.#connection = new TokenConnection(settings, load);
    this.#now = now;
  }

  /** @throws `NotLoggedIn`, `PinRefused` or a `FieldEncryptionError` */
  run(request: TokenRequest): TokenAnswer {
    switch (request.kind) {
      case 'login':
        this.#guarded(() => {
          this.#connection.login(request.pin);
        });
        return undefined;
      case 'wrap':
        return this.#wrap(request);
      case 'unwrap':
        return this.#unwrap(request);
      case 'rotateKek':
        return this.#rotateKek();
      case 'health':
        return this.#health();
      case 'close':
        this.#connection.close();
        return undefined;
    }
  }

  #wrap({ key, binding }: RequestOf<'wrap'>): WrappedKey {
    this.#lookAgainInTime();
    return this.#guarded(() => {
      const { session, token, keks } = this.#withKek();
      const kek = newest(keks, this.#settings);
      const headerBytes = header(kek.keyWrap, kek.version);
      const bound = associatedData(headerBytes, binding);
      const body = kek.keyWrap.wrap(session, kek.handle, key, bound);
      return { kek: kekReference(token, kek), wrapped: Buffer.concat([headerBytes, body]) };
    });
  }

  #unwrap({ wrapped, binding }: RequestOf<'unwrap'>): Uint8Array {
    const form = parseWrapped(wrapped);
    const bound = associatedData(form.header, binding);
    const unwrap = (): Uint8Array => {
      const { session, kek } = this.#kekOf(form);
      return form.keyWrap.unwrap(session, kek.handle, form.body, bound);
    };
    try {
      return this.#withRetries(unwrap);
    } catch (error) {
      const kind = kindOfFailure(error);
      if (kind === 'tampered') throw doesNotUnwrap(form, this.#settings, error);
      if (!mayBeOfTheKey(error) || !this.#works(form)) throw asKmsError(error);
    }
    return this.#unwrapLastTime(form, unwrap);
  }

  #rotateKek(): string {
    this.#connection.forgetKeks();
    let version: number | undefined;
    return this.#guarded(() => {
      this.#ready();
      // The same version in a retry: it may have been made before the failure.
      version ??= this.#newestVersion + 1;
      this.#connection.makeKek(version);
      const { token, keks } = this.#ready();
      return kekReference(token, newest(keks, this.#settings));
    });
  }

  #health(): KmsHealth {
    return this.#guarded(() => {
      const { session, token, keks } = this.#ready();
      const [kek] = keks;
      const where = `token "${token.label}" (serial ${token.serial})`;
      if (kek === undefined) {
        const ok = this.#settings.createKey && this.#newestVersion === 0;
        const detail = `${where} has no key "${this.#settings.keyLabel}"`;
        return { ...ANSWERED, ok, detail, mayWrap: ok };
      }
      probe(session, kek);
      const detail = `${where}, KEK "${kek.label}" by ${kek.keyWrap.name}`;
      const kekVersion = String(kek.version);
      return { ...ANSWERED, ok: true, detail, mayWrap: true, mayUnwrap: true, kekVersion };
    });
  }

  #ready(): Ready {
    const ready = this.#connection.ready();
    this.#newestVersion = Math.max(this.#newestVersion, ready.keks[0]?.version ?? 0);
    return ready;
  }

  /** Returns the versions of the KEK, after making the first one if it is missing and allowed. */
  #withKek(): Ready {
    const ready = this.#ready();
    // If there was a KEK and it is gone, a new one would only hide the loss.
    if (ready.keks.length > 0 || this.#newestVersion > 0 || !this.#settings.createKey) return ready;
    this.#connection.makeKek(1);
    return this.#ready();
  }

  /** Finds the KEK of a wrapped key, looking twice: another process may just have made the version. */
  #kekOf(form: WrappedForm): { session: Session; kek: Kek } {
    const find = (): { session: Session; kek: Kek | undefined } => {
      const { session, keks } = this.#ready();
      return { session, kek: keks.find(({ version }) => version === form.kekVersion) };
    };
    let { session, kek } = find();
    if (kek === undefined) {
      this.#connection.forgetKeks();
      ({ session, kek } = find());
    }
    if (kek?.allowed.includes(form.keyWrap) === true) return { session, kek };
    const label = kekLabel(this.#settings.keyLabel, form.kekVersion);
    throw new KeyUnwrapError(
      kek === undefined
        ? `its KEK "${label}" is not on the token. Restore that key from the backup of the token.`
        : `its KEK "${label}" is not allowed to unwrap by ${form.keyWrap.name}, by its attributes or by the option mechanism.`,
    );
  }

  /** Whether the KEK wraps and unwraps a test key. */
  #works(form: WrappedForm): boolean {
    try {
      const { session, kek } = this.#kekOf(form);
      probe(session, { ...kek, keyWrap: form.keyWrap });
      return true;
    } catch {
      this.#connection.discard();
      return false;
    }
  }

  /**
   * Some modules, such as SoftHSM2, report a damaged key like a broken device. A key that fails again,
   * after the same KEK has wrapped and unwrapped another one, is at fault itself. After a device error
   * the KEK has to work afterwards, too: devices do fail.
   */
  #unwrapLastTime(form: WrappedForm, unwrap: () => Uint8Array): Uint8Array {
    try {
      return this.#discardingOnFailure(unwrap);
    } catch (error) {
      const kind = kindOfFailure(error);
      const isOfTheKey =
        kind === 'unclear' || kind === 'tampered' || (mayBeOfTheKey(error) && this.#works(form));
      throw isOfTheKey ? doesNotUnwrap(form, this.#settings, error) : asKmsError(error);
    }
  }

  #lookAgainInTime(): void {
    if (this.#now() - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#connection.forgetKeks();
    this.#lookedAt = this.#now();
  }

  #guarded<T>(work: () => T): T {
    try {
      return this.#withRetries(work);
    } catch (error) {
      throw asKmsError(error);
    }
  }

  /** Retries, each time on a new session. */
  #withRetries<T>(work: () => T): T {
    return withRetries(() => this.#discardingOnFailure(work));
  }

  #discardingOnFailure<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!keepsSession(error)) this.#connection.discard();
      throw error;
    }
  }
}

function newest(keks: readonly Kek[], { keyLabel }: TokenSettings): Kek {
  const [kek] = keks;
  if (kek !== undefined) return kek;
  throw new ConfigurationError(
    `pkcs11Kms: the token has no key "${keyLabel}". ` +
      'Restore it from the backup of the token if it was there before; ' +
      'otherwise make one there, or set createKey: true.',
  );
}

function doesNotUnwrap(form: WrappedForm, { keyLabel }: TokenSettings, cause: unknown): Error {
  return new KeyUnwrapError(
    `the token does not unwrap it under "${kekLabel(keyLabel, form.kekVersion)}": the key row was ` +
      'edited, swapped or damaged, or belongs to a KEK of the same label on another token.',
    { cause },
  );
}
