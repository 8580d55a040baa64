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
/** Leaves a request most of its time: where somebody takes longer, the token itself settles who is first. */
const MAKING_WAIT_MS = 2_000;

/** A session of a user who is logged in, and what can be done with it. */
export interface Ready {
  readonly session: Session;
  readonly token: Token;
  readonly keks: Keks;
}

/** One session on the token, opened when it is needed and given up when anything odd happens. */
export class TokenConnection {
  readonly #settings: TokenSettings;
  readonly #load: () => Cryptoki;
  #cryptoki: Cryptoki | undefined;
  #token: Token | undefined;
  #session: Handle | undefined;
  /** Whether the token was there when it was looked for last. */
  #wasFound = false;
  /**
   * Never used for anything. A token logs everybody out when the last session of the process is
   * closed; this one lets sessions be thrown away.
   */
  #anchor: Handle | undefined;
  #offered: readonly number[] = [];
  #keks: Keks | undefined;

  constructor(settings: TokenSettings, load: () => Cryptoki) {
    this.#settings = settings;
    this.#load = load;
  }

  /** @throws {@link NotLoggedIn}, or whatever the token throws */
  ready(): Ready {
    const { session, token } = this.#open();
    if (this.#keks === undefined) {
      requireUser(session);
      this.#keks = findKeks(session, this.#offered, this.#settings);
    }
    return { session, token, keks: this.#keks };
  }

  /**
   * Logs in, unless somebody in this process is logged in. The PIN is tried once.
   *
   * @throws {@link PinRefused} when the token refuses it, or one more mistake would lock it
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

  /** Looks for the KEK anew before it is used next. */
  forgetKeks(): void {
    this.#keks = undefined;
  }

  /** Makes a version of the KEK. */
  makeKek(version: number): void {
    const { session, token } = this.ready();
    this.#keks = undefined;
    // One thread of a process competes with other processes; the rest then find the key made.
    const lock = `${tokenName(this.#settings)} ${this.#settings.keyLabel}`;
    withProcessLock(lock, MAKING_WAIT_MS, () => {
      makeKek(session, token.slot, version, this.#offered, this.#settings);
    });
  }

  /** Gives the session up: a failed operation may have left it in any state. */
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
      // Again after each loss: somebody may have finalized the module, or renumbered its slots.
      const { library, libraryParameters } = this.#settings;
      // Not every module guards against two threads that come at once: NSS then has each token twice.
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
      // Not passed on as it is: whether the token counted the attempt is not known, so it is not repeated.
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
