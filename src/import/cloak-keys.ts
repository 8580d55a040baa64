import type { KeyObject } from 'node:crypto';
import { createHash, createSecretKey } from 'node:crypto';

import { wipe } from '../crypto/wipe';
import { ConfigurationError } from '../errors';
import { isText, OptionChecks } from '../kms/remote/option-checks';
import { decodePaddedBase64url } from './canonical-base64';
import { openMessage, parseMessage } from './cloak';

/** The keys of cloak: as they are, or in an exported keychain. */
export type CloakOptions =
  | {
      /** Serialized keys, `k1.aesgcm256.…`, all that rows were written under. */
      readonly keys: readonly string[];
    }
  | {
      /** A keychain as `exportKeychain` and the `cloak` command write it (`CLOAK_KEYCHAIN`). */
      readonly keychain: string;
      /** The serialized key that the keychain is encrypted under (`CLOAK_MASTER_KEY`). */
      readonly masterKey: string;
    };

const NAMES: readonly string[] = ['keys', 'keychain', 'masterKey'];
const KEY_FORM = /^k1\.aesgcm256\.([\w-]{43})=?$/;
const FINGERPRINT_CHARS = 8;

const check: OptionChecks = new OptionChecks('cloakFormat');

/**
 * Reads the keys, by fingerprint.
 *
 * @throws {@link ConfigurationError} that shows nothing of a key
 */
export function cloakKeys(options: CloakOptions): ReadonlyMap<string, KeyObject> {
  check.known(options, NAMES);
  check.require(
    !('keys' in options && ('keychain' in options || 'masterKey' in options)),
    'want one of keys and keychain with its masterKey, got both',
  );
  const texts = 'keys' in options ? options.keys : keychainTexts(options);
  check.require(isList(texts) && texts.length > 0, 'keys must be a list with one key at least');
  return new Map(texts.map((text) => [fingerprintOf(text), parseKey(text, 'each of the keys')]));
}

/** The serialized keys in an exported keychain: a message of cloak that holds JSON. */
function keychainTexts({ keychain, masterKey }: { keychain: string; masterKey: string }): string[] {
  const message = isText(keychain) ? parseMessage(keychain) : undefined;
  check.require(message !== undefined, 'keychain must be one that exportKeychain wrote');
  const content = openMessage(
    parseKey(masterKey, 'masterKey'),
    message,
    () => new ConfigurationError('cloakFormat: masterKey does not open keychain.'),
  );
  try {
    const entries = JSON.parse(content.toString('utf8')) as { key: string }[];
    return entries.map(({ key }) => key);
  } catch {
    throw new ConfigurationError('cloakFormat: keychain does not hold a list of keys.');
  } finally {
    wipe(content);
  }
}

function parseKey(text: unknown, what: string): KeyObject {
  const [, digits = ''] = KEY_FORM.exec(isText(text) ? text : '') ?? [];
  const bytes = decodePaddedBase64url(`${digits}=`);
  check.require(bytes?.length === 32, `${what} must be a key of cloak, k1.aesgcm256.…`);
  try {
    return createSecretKey(bytes);
  } finally {
    wipe(bytes);
  }
}

/** Of the text, padding included: cloak takes keys with and without. */
function fingerprintOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, FINGERPRINT_CHARS);
}

/** `Array.isArray` would make the elements `any`. */
function isList(value: unknown): boolean {
  return Array.isArray(value);
}
