import { isAbsolute } from 'node:path';

import { ConfigurationError } from '../../errors';

import type { KeyWrapName } from './key-wrap';
import type { Pin } from './pin';
import type { PoolLimits } from './session-pool';
import type { TokenSelector, TokenSettings } from './token';

/** Where the key-encryption key (KEK) is, and how to get at it. */
export interface Pkcs11KmsOptions {
  /** Absolute path of the PKCS #11 module of the HSM, such as `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly library: string;
  /** The token: by label, by serial number, or by both. Never by slot number, which changes. */
  readonly token: TokenSelector;
  /**
   * The PIN of the user, or a function that is asked for it when somebody must log in. A PIN in an
   * environment variable shows in diagnostic reports; better read it from a file or a secret store.
   */
  readonly pin: Pin;
  /**
   * Label of the KEK, at most 64 characters. Later versions are labelled `<keyLabel>.v2`,
   * `<keyLabel>.v3` and so on; the newest one wraps.
   */
  readonly keyLabel: string;
  /** Makes the KEK in the token when there is none and the first key is wrapped. Defaults to `false`. */
  readonly createKey?: boolean;
  /**
   * The only way in which keys are wrapped and unwrapped. Left out, new ones are wrapped by `aes-gcm`
   * where token and KEK allow it and otherwise by `aes-key-wrap`, and those of either way unwrap.
   */
  readonly mechanism?: KeyWrapName;
  /** Sessions in use at once, 1 to 16, each on a thread of its own. Defaults to 2. */
  readonly sessions?: number;
  /** Milliseconds until a silent token counts as unavailable, 100 to 300 000. Defaults to 10 000. */
  readonly timeoutMs?: number;
  /** For modules that take a configuration string, as NSS does: `configdir='sql:/etc/pki/nssdb' …`. */
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

/** @throws {@link ConfigurationError} that names the option, and never the PIN */
export function parseOptions(options: Pkcs11KmsOptions): ParsedOptions {
  requireKnown(options, NAMES, '');
  requireKnown(options.token, ['label', 'serial'], 'token.');
  const {
    library,
    token,
    pin,
    keyLabel,
    createKey = false,
    mechanism,
    libraryParameters,
  } = options;
  require_(isText(library) && isAbsolute(library), 'library must be the absolute path of a module');
  require_(
    isOptionalText(token.label) &&
      isOptionalText(token.serial) &&
      (token.label ?? token.serial) !== undefined,
    'token must have a label or a serial number',
  );
  require_(
    isText(pin) || typeof pin === 'function',
    'pin must be text, or a function that returns it',
  );
  require_(
    isText(keyLabel) && keyLabel.length <= MAX_LABEL_CHARS && !/\.v\d+$/.test(keyLabel),
    `keyLabel must be text of at most ${String(MAX_LABEL_CHARS)} characters that does not end like a version (.v2)`,
  );
  require_(typeof createKey === 'boolean', 'createKey must be true or false');
  require_(
    mechanism === undefined || ['aes-gcm', 'aes-key-wrap'].includes(mechanism),
    'mechanism must be aes-gcm or aes-key-wrap',
  );
  require_(isOptionalText(libraryParameters), 'libraryParameters must be text');
  const { label, serial } = token;
  return {
    settings: {
      library,
      libraryParameters,
      token: {
        ...(label === undefined ? {} : { label }),
        ...(serial === undefined ? {} : { serial }),
      },
      keyLabel,
      createKey,
      mechanism,
    },
    limits: {
      threads: integer('sessions', options.sessions ?? 2, 1, 16),
      timeoutMs: integer('timeoutMs', options.timeoutMs ?? 10_000, 100, 300_000),
      waiting: MAX_WAITING,
    },
    pin,
  };
}

function requireKnown(given: unknown, names: readonly string[], prefix: string): void {
  require_(
    typeof given === 'object' && given !== null,
    prefix === '' ? 'options are missing' : 'token must have a label or a serial number',
  );
  const unknown = Object.keys(given as object).filter((name) => !names.includes(name));
  require_(
    unknown.length === 0,
    `there is no option ${unknown.map((name) => prefix + name).join(', ')}`,
  );
}

function integer(name: string, value: unknown, min: number, max: number): number {
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  require_(fits, `${name} must be a whole number from ${String(min)} to ${String(max)}`);
  return value as number;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isOptionalText(value: unknown): boolean {
  return value === undefined || isText(value);
}

function require_(holds: boolean, problem: string): void {
  if (!holds) throw new ConfigurationError(`pkcs11Kms: ${problem}.`);
}
