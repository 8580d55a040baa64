import { ConfigurationError, KmsUnavailableError } from '../../errors';

import { CKF, CKS, CKU_USER, initialize, closeQuietly } from './cryptoki';
import type { Cryptoki, Handle, Session } from './cryptoki';
import { findKeks } from './kek';
import type { Keks } from './kek';
import { makeKek } from './make-kek';
import { withProcessLock } from './process-lock';
import { describeFailure, kindOfFailure, returnValueOf } from './return-value';
import { findToken, flagsOf, tokenName } from './token';
import type { Token, TokenSettings } from './token';
import { NotLoggedIn, PinRefused } from './token-errors';

/** Longer than modules take to initialise. */
const INITIALIZING_WAIT_MS = 10_000;
/** A small part of a request's time: after it, the lock in the token alone decides who is first. */
const MAKING_WAIT_MS = 2_000;

/** A session with a logged-in user, and the KEKs that it can use. */
export interface Ready {
  readonly session: Session;
  readonly token: Token;
  readonly keks: Keks;
}

/** A session on the token, opened when needed and discarded after any unexpected failure. */
export class TokenConnection {
  readonly #settings: TokenSettings;
  readonly #load: () => Cryptoki;
  #cryptoki: Cryptoki | undefined;
  #token: Token | undefined;
  #session: Handle | undefined;
  /** Whether the token was there the last time. */
  #wasFound = false;
  /**
   * Never used, but kept open: a token logs the process out when its last session is closed, and other
   * sessions get discarded.
   */
  #anchor: Handle | undefined;
  #offered: readonly number[] = [];
  #keks: Keks | undefined;

  constructor(settings: TokenSettings, load: () => Cryptoki) {
    this.#settings = settings;
    this.#load = load;
  }

  /** @throws {@link NotLoggedIn}, and errors of the token */
  ready(): Ready {
    const { session, token } = this.#open();
    if (this.#keks === undefined) {
      requireUser(session);
      this.#keks = findKeks(session, this.#offered, this.#settings);
    }
    return { session, token, keks: this.#keks };
  }

  /**
   * Logs in, unless another session of this process has. Tries the PIN once.
   *
   * @throws {@link PinRefused} if the token refuses it, or one more mistake would lock the token
   */
  login(pin: string): void {
    const { session, token } = this.#open();
    this.#keks = undefined;
    if (!isUser(session)) {
      requireTries(flagsOf(session.cryptoki, token), token);
      logIn(session, token, pin);
    }
    this.#holdAnchor(session, token);
  }

  /** Makes the next request look for KEKs again. */
  forgetKeks(): void {
    this.#keks = undefined;
  }

  /** Makes a version of the KEK. */
  makeKek(version: number): void {
    const { session, token } = this.ready();
    this.#keks = undefined;
    // One thread of this process competes with other processes; its other threads then find the key.
    const lock = `${tokenName(this.#settings)} ${this.#settings.keyLabel}`;
    withProcessLock(lock, MAKING_WAIT_MS, () => {
      makeKek(session, token.slot, version, this.#offered, this.#settings);
    });
  }

  /** Discards the session, which a failed operation may have left in any state. */
  discard(): void {
    if (this.#session !== undefined) this.#closeQuietly(this.#session);
    this.#session = undefined;
    this.#keks = undefined;
    this.#token = undefined;
    if (this.#anchor !== undefined && !this.#isOpen(this.#anchor)) this.#anchor = undefined;
  }

  close(): void {
    this.discard();
    if (this.#anchor !== undefined) this.#closeQuietly(this.#anchor);
    this.#anchor = undefined;
  }

  #open(): { session: Session; token: Token } {
    const cryptoki = (this.#cryptoki ??= this.#load());
    if (this.#token === undefined || this.#session === undefined) {
      // Again after each loss: the module may have been finalized, or its slots renumbered.
      const { library, libraryParameters } = this.#settings;
      // Not every module guards against concurrent initialisation: NSS then lists each token twice.
      withProcessLock(library, INITIALIZING_WAIT_MS, () => {
        initialize(cryptoki, libraryParameters);
      });
      const wasFound = this.#wasFound;
      this.#wasFound = false;
      this.#token = findToken(cryptoki, this.#settings.token, wasFound);
      this.#wasFound = true;
      this.#offered = cryptoki.C_GetMechanismList(this.#token.slot);
      this.#session = cryptoki.C_OpenSession(this.#token.slot, CKF.serialSession);
    }
    return { session: { cryptoki, handle: this.#session }, token: this.#token };
  }

  #holdAnchor({ cryptoki }: Session, { slot }: Token): void {
    this.#anchor ??= cryptoki.C_OpenSession(slot, CKF.serialSession);
  }

  #isOpen(session: Handle): boolean {
    try {
      this.#cryptoki?.C_GetSessionInfo(session);
      return true;
    } catch {
      return false;
    }
  }

  #closeQuietly(session: Handle): void {
    if (this.#cryptoki !== undefined) closeQuietly({ cryptoki: this.#cryptoki, handle: session });
  }
}

function isUser({ cryptoki, handle }: Session): boolean {
  const { state } = cryptoki.C_GetSessionInfo(handle);
  return state === CKS.roUserFunctions || state === CKS.rwUserFunctions;
}

function requireUser(session: Session): void {
  if (!isUser(session)) throw new NotLoggedIn('nobody is logged in to the token');
}

function requireTries(flags: number, { label }: Token): void {
  if ((flags & CKF.userPinLocked) !== 0) {
    throw new PinRefused(
      `pkcs11Kms: the user PIN of token "${label}" is locked. Its security officer must set it anew.`,
    );
  }
  if ((flags & CKF.userPinFinalTry) !== 0) {
    throw new PinRefused(
      `pkcs11Kms: one more wrong PIN locks token "${label}", so none is tried. Log in once by hand ` +
        'with the right PIN, which resets the counter, and start again.',
    );
  }
  if ((flags & CKF.loginRequired) === 0 || (flags & CKF.userPinInitialized) === 0) {
    throw new ConfigurationError(
      `pkcs11Kms: token "${label}" has no user PIN, so nothing guards its keys. Set one.`,
    );
  }
}

function logIn({ cryptoki, handle }: Session, { label }: Token, pin: string): void {
  try {
    cryptoki.C_Login(handle, CKU_USER, pin);
  } catch (error) {
    if (returnValueOf(error) === 'CKR_USER_ALREADY_LOGGED_IN') return;
    if (kindOfFailure(error) !== 'pin-refused') {
      // An error that is not retried: the token may have counted the attempt.
      throw new KmsUnavailableError(
        `pkcs11Kms: token "${label}" failed at the login (${describeFailure(error)}).`,
        { cause: error },
      );
    }
    throw new PinRefused(
      `pkcs11Kms: token "${label}" refuses the PIN (${describeFailure(error)}). It is not tried again ` +
        'by this process, because tokens lock after a few wrong ones. Correct the PIN and restart.',
      { cause: error },
    );
  }
}
