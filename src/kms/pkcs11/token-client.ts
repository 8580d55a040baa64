import { wipe } from '../../crypto/wipe';
import { ConfigurationError, FieldEncryptionError, KeyUnwrapError } from '../../errors';
import type { KmsHealth, WrappedKey } from '../kms-provider';
import type { Cryptoki } from './cryptoki';
import type { Kek } from './kek';
import { kekLabel } from './kek';
import { kekReference } from './kek-reference';
import { explained, isVerdict } from './explained';
import { pause } from './pause';
import { probe } from './probe';
import type { RequestOf, TokenAnswer, TokenRequest } from './protocol';
import { NotLoggedIn } from './protocol';
import { kindOfFailure } from './return-value';
import type { Session } from './session';
import type { TokenSettings } from './settings';
import type { Ready } from './token-connection';
import { TokenConnection } from './token-connection';
import type { WrappedForm } from './wrapped-form';
import { associatedData, header, parseWrapped } from './wrapped-form';

/** How long a process may go on wrapping under a KEK after a newer one was made elsewhere. */
const LOOK_AGAIN_MS = 60_000;
/**
 * New sessions that one operation may take. While other threads log in, or another process makes a
 * key, NSS softoken invalidates the handles of a session that is new itself.
 */
const FRESH_SESSIONS = 3;

/**
 * A key that another process is making: SoftHSM2 shows it before all of its attributes are written,
 * and then refuses to use it as if it were not allowed to.
 */
const HALF_MADE_MS = 100;

/** What a lane does with its one session. Everything here blocks. */
export class TokenClient {
  readonly #settings: TokenSettings;
  readonly #connection: TokenConnection;
  readonly #now: () => number;
  #lookedAt = 0;
  /** Highest version ever met; 0 when none was. */
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

  /** @throws {@link NotLoggedIn}, {@link PinRefused} or a {@link FieldEncryptionError} */
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
      return this.#onFreshSessionIfLost(unwrap);
    } catch (error) {
      throw this.#isTampered(error, form, unwrap)
        ? doesNotUnwrap(form, this.#settings, error)
        : explained(error);
    }
  }

  #rotateKek(): string {
    this.#connection.forgetKeks();
    return this.#guarded(() => {
      this.#ready();
      this.#connection.makeKek(this.#newestVersion + 1);
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
        return { ok, detail: `${where} has no key "${this.#settings.keyLabel}"` };
      }
      probe(session, kek);
      return { ok: true, detail: `${where}, KEK "${kek.label}" by ${kek.keyWrap.name}` };
    });
  }

  #ready(): Ready {
    const ready = this.#connection.ready();
    this.#newestVersion = Math.max(this.#newestVersion, ready.keks[0]?.version ?? 0);
    return ready;
  }

  /** The family of the KEK, made if it may be and is not there. */
  #withKek(): Ready {
    const ready = this.#ready();
    // In place of a KEK that was there and is gone, a new one would only hide the loss.
    if (ready.keks.length > 0 || this.#newestVersion > 0 || !this.#settings.createKey) return ready;
    this.#connection.makeKek(1);
    return this.#ready();
  }

  /** Another process may have made a new version, so a missing one is looked for once more. */
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
        : `its KEK "${label}" is not allowed to unwrap by ${form.keyWrap.name}.`,
    );
  }

  /**
   * Whether a failure to unwrap is due to the wrapped key. Modules that say nothing definite, such as
   * SoftHSM2, answer a changed key like a broken device: a key that fails again while the same KEK
   * wraps and unwraps another one is to blame itself.
   */
  #isTampered(error: unknown, form: WrappedForm, unwrap: () => Uint8Array): boolean {
    if (error instanceof FieldEncryptionError || error instanceof NotLoggedIn) return false;
    this.#connection.discard();
    const kind = kindOfFailure(error);
    if (kind !== 'unclear') return kind === 'tampered';
    try {
      const { session, kek } = this.#kekOf(form);
      probe(session, { ...kek, keyWrap: form.keyWrap });
    } catch {
      this.#connection.discard();
      return false;
    }
    return this.#failsAgain(unwrap);
  }

  #failsAgain(unwrap: () => Uint8Array): boolean {
    try {
      wipe(unwrap());
      return false;
    } catch (error) {
      this.#connection.discard();
      return kindOfFailure(error) === 'unclear' || kindOfFailure(error) === 'tampered';
    }
  }

  #lookAgainInTime(): void {
    if (this.#now() - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#connection.forgetKeks();
    this.#lookedAt = this.#now();
  }

  #guarded<T>(work: () => T): T {
    try {
      return this.#onFreshSessionIfLost(work);
    } catch (error) {
      throw explained(error);
    }
  }

  /** Runs `work`, and again on a new session when its own turns out to be gone. */
  #onFreshSessionIfLost<T>(work: () => T, sessions = FRESH_SESSIONS): T {
    try {
      return this.#discardingOnFailure(work);
    } catch (error) {
      const kind = kindOfFailure(error);
      const isWorthAnother = kind === 'session-lost' || kind === 'not-allowed';
      if (!isWorthAnother || sessions === 0) throw error;
      if (kind === 'not-allowed') pause(HALF_MADE_MS);
      // What is really not allowed is no more so the second time.
      return this.#onFreshSessionIfLost(work, kind === 'not-allowed' ? 0 : sessions - 1);
    }
  }

  #discardingOnFailure<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!isVerdict(error)) this.#connection.discard();
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
