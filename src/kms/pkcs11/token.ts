import { ConfigurationError, KmsUnavailableError } from '../../errors';

import { CKF } from './cryptoki';
import type { Cryptoki, Handle } from './cryptoki';
import type { KeyWrapName } from './key-wrap';
import { pause } from './retries';
import { returnValueOf } from './return-value';

/** The token to use, by at least one of the two. If both are given, both must match. */
export interface TokenSelector {
  /** Label of the token, without its padding. */
  readonly label?: string;
  /** Serial number of the token, without its padding. */
  readonly serial?: string;
}

/** The settings that are sent to each thread; not the PIN. */
export interface TokenSettings {
  readonly library: string;
  readonly libraryParameters: string | undefined;
  readonly token: TokenSelector;
  readonly keyLabel: string;
  readonly createKey: boolean;
  /** The only way to wrap and unwrap keys; `undefined` for any that token and KEK allow. */
  readonly mechanism: KeyWrapName | undefined;
}

/** Names a token uniquely on this machine. */
export function tokenName({ library, token }: TokenSettings): string {
  return JSON.stringify([library, token.label, token.serial]);
}

const MAX_LOOKS = 5;
const LOOK_AGAIN_MS = 50;

/** A token that is present. Its slot may change when the module is initialised again. */
export interface Token {
  readonly slot: Handle;
  readonly label: string;
  readonly serial: string;
  readonly flags: number;
}

/**
 * Finds the one token that the selector matches.
 *
 * @param wasThere - whether it was there the last time.
 * @throws {@link ConfigurationError} if only other tokens are there, or several match;
 * {@link KmsUnavailableError} if there is none at all, as while an HSM is out of reach, or the token is
 * gone
 */
export function findToken(cryptoki: Cryptoki, selector: TokenSelector, wasThere: boolean): Token {
  let present: Token[] = [];
  let fitting: Token[] = [];
  // SoftHSM2 may hide a token for a moment while another process writes to it.
  for (let looks = 0; fitting.length === 0 && looks < MAX_LOOKS; looks++) {
    if (looks > 0) pause(LOOK_AGAIN_MS);
    present = tokensOf(cryptoki);
    fitting = present.filter((token) => fits(token, selector));
  }
  const [token, another] = fitting;
  if (token !== undefined && another === undefined) return token;
  if (another !== undefined) {
    throw new ConfigurationError(
      `pkcs11Kms: ${String(fitting.length)} tokens have the ${describe(selector)}, with the serial ` +
        `numbers ${fitting.map(({ serial }) => serial).join(', ')}. Name one by token.serial.`,
    );
  }
  if (present.length === 0) {
    throw new KmsUnavailableError(
      'pkcs11Kms: the PKCS #11 module shows no token at all. Is the HSM switched on and reachable, ' +
        'and the configuration of its module in place?',
    );
  }
  const Missing = wasThere ? KmsUnavailableError : ConfigurationError;
  throw new Missing(
    `pkcs11Kms: there is no token with the ${describe(selector)}; got ` +
      `${present.map(({ label, serial }) => `"${label}" (serial ${serial})`).join(', ')}. ` +
      'Correct token.label or token.serial.',
  );
}

/** Reads the flags of a token again; those about the PIN change. */
export function flagsOf(cryptoki: Cryptoki, { slot }: Token): number {
  return cryptoki.C_GetTokenInfo(slot).flags;
}

function tokensOf(cryptoki: Cryptoki): Token[] {
  const tokens: Token[] = [];
  for (const slot of cryptoki.C_GetSlotList(true)) {
    const token = readToken(cryptoki, slot);
    if (token !== undefined && (token.flags & CKF.tokenInitialized) !== 0) tokens.push(token);
  }
  return tokens;
}

function readToken(cryptoki: Cryptoki, slot: Handle): Token | undefined {
  try {
    const { label, serialNumber, flags } = cryptoki.C_GetTokenInfo(slot);
    return { slot, label: withoutPadding(label), serial: withoutPadding(serialNumber), flags };
  } catch (error) {
    // A token that fails, or was just removed, must not hide the others.
    if (returnValueOf(error) === 'CKR_CRYPTOKI_NOT_INITIALIZED') throw error;
    return undefined;
  }
}

/** Removes padding: spaces by the standard, NULs by some modules. */
function withoutPadding(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end -= 1;
  return text.slice(0, end);
}

function fits(token: Token, { label, serial }: TokenSelector): boolean {
  return (
    (label === undefined || token.label === label) &&
    (serial === undefined || token.serial === serial)
  );
}

function describe({ label, serial }: TokenSelector): string {
  const parts = [
    ...(label === undefined ? [] : [`label "${label}"`]),
    ...(serial === undefined ? [] : [`serial number ${serial}`]),
  ];
  return parts.join(' and ');
}
