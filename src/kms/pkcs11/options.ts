import { isAbsolute } from 'node:path';

import { isText, OptionChecks } from '../remote/option-checks';

import type { KeyWrapName } from './key-wrap';
import type { Pin } from './pin';
import type { PoolLimits } from './session-pool';
import type { TokenSelector, TokenSettings } from './token';

/** The key-encryption key (KEK), and how to reach it. */
export interface Pkcs11KmsOptions {
  /** Absolute path of the PKCS #11 module of the HSM, such as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly library: string;
  /** The token, by label, serial number or both; not by slot number, which changes. */
  readonly token: TokenSelector;
  /**
   * The PIN of the user, or a function that is called for it at each login. A PIN in an environment
   * variable shows in diagnostic reports; better read it from a file or a secret store.
   */
  readonly pin: Pin;
  /**
   * Label of the KEK, at most 64 characters. Later versions are labelled `<keyLabel>.v2`,
   * `<keyLabel>.v3` and so on; the newest one wraps.
   */
  readonly keyLabel: string;
  /** Whether to make the KEK in the token if there is none when the first key is wrapped. Defaults to `false`. */
  readonly createKey?: boolean;
  /**
   * The only way to wrap and unwrap keys. By default new keys are wrapped by `aes-gcm` if token and KEK
   * allow it and otherwise by `aes-key-wrap`, and keys of either kind are unwrapped.
   */
  readonly mechanism?: KeyWrapName;
  /** Concurrent sessions, 1 to 16, each on a thread of its own. Defaults to 2. */
  readonly sessions?: number;
  /** Milliseconds until a token that does not answer counts as unavailable, 100 to 300 000. Defaults to 10 000. */
  readonly timeoutMs?: number;
  /** A configuration string for modules that take one, such as NSS: `configdir='sql:/etc/pki/nssdb' …`. */
  readonly libraryParameters?: string;
}

/** Checked options, apart from the PIN. */
export interface ParsedOptions {
  readonly settings: TokenSettings;
  readonly limits: PoolLimits;
  readonly pin: Pin;
}

const NAMES: readonly string[] = [
  'library',
  'token',
  'pin',
  'keyLabel',
  'createKey',
  'mechanism',
  'sessions',
  'timeoutMs',
  'libraryParameters',
] satisfies (keyof Pkcs11KmsOptions)[];

const MAX_LABEL_CHARS = 64;
const MAX_WAITING = 10_000;

const check: OptionChecks = new OptionChecks('pkcs11Kms');

/** @throws {@link ConfigurationError} that names the option, and never the PIN */
export function parseOptions(options: Pkcs11KmsOptions): ParsedOptions {
  check.known(options, NAMES);
  const { pin, sessions = 2, timeoutMs = 10_000 } = options;
  const settings = parseSettings(options);
  check.require(
    isText(pin) || typeof pin === 'function',
    'pin must be text, or a function that returns it',
  );
  return {
    settings,
    limits: {
      threads: check.integer('sessions', sessions, 1, 16),
      timeoutMs: check.integer('timeoutMs', timeoutMs, 100, 300_000),
      waiting: MAX_WAITING,
    },
    pin,
  };
}

function parseSettings(options: Pkcs11KmsOptions): TokenSettings {
  const { library, keyLabel, createKey = false, mechanism, libraryParameters } = options;
  const token = parseToken(options.token);
  check.require(
    isText(library) && isAbsolute(library),
    'library must be the absolute path of a module',
  );
  check.require(
    isText(keyLabel) && keyLabel.length <= MAX_LABEL_CHARS && !/\.v\d+$/.test(keyLabel),
    `keyLabel must be text of at most ${String(MAX_LABEL_CHARS)} characters that does not end like a version (.v2)`,
  );
  check.require(typeof createKey === 'boolean', 'createKey must be true or false');
  check.require(
    mechanism === undefined || ['aes-gcm', 'aes-key-wrap'].includes(mechanism),
    'mechanism must be aes-gcm or aes-key-wrap',
  );
  check.require(isOptionalText(libraryParameters), 'libraryParameters must be text');
  return { library, libraryParameters, token, keyLabel, createKey, mechanism };
}

function parseToken(token: TokenSelector): TokenSelector {
  const needed = 'token must have a label or a serial number';
  check.require(typeof token === 'object' && (token as unknown) !== null, needed);
  check.known(token, ['label', 'serial'], 'token.');
  const { label, serial } = token;
  check.require(
    isOptionalText(label) && isOptionalText(serial) && (label ?? serial) !== undefined,
    needed,
  );
  return {
    ...(label === undefined ? {} : { label }),
    ...(serial === undefined ? {} : { serial }),
  };
}

function isOptionalText(value: unknown): boolean {
  return value === undefined || isText(value);
}
