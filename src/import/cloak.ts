import { createHash, createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { openGcm } from '../crypto/gcm';
import { wipe } from '../crypto/secret-bytes';
import { decodePaddedBase64url } from '../encoding/base64url';
import { SealedMessage } from '../encoding/sealed-message';
import { ConfigurationError } from '../errors';
import { isText, OptionChecks } from '../kms/remote/option-checks';

import { undecryptable } from './previous-format';
import type { LocalPreviousFormat } from './previous-format';

/** A parsed message of cloak. */
interface CloakMessage {
  /** Names the key: the first 8 hexadecimal digits of the SHA-256 of its text. */
  readonly fingerprint: string;
  readonly iv: Buffer;
  /** `ciphertext ‖ tag(16)` */
  readonly sealed: Buffer;
}

const FORM = /^v1\.aesgcm256\.([\da-f]{8})\.([\w-]{16})\.([\w-]{22,}={0,2})$/;
const TAG_BYTES = 16;
const NO_ASSOCIATED_DATA = new Uint8Array();

/**
 * The format `v1.aesgcm256.<fingerprint>.<iv>.<ciphertext ‖ tag>` of `@47ng/cloak` and of libraries built on
 * it, such as prisma-field-encryption.
 */
export class CloakFormat implements LocalPreviousFormat {
  readonly name = '@47ng/cloak';
  readonly #keys: ReadonlyMap<string, KeyObject>;

  /** @param keys - by fingerprint */
  constructor(keys: ReadonlyMap<string, KeyObject>) {
    this.#keys = keys;
  }

  recognises(stored: string): boolean {
    return parseMessage(stored) !== undefined;
  }

  decrypt(stored: string): Uint8Array {
    const message = parseMessage(stored);
    const key = message === undefined ? undefined : this.#keys.get(message.fingerprint);
    if (message === undefined || key === undefined) {
      throw undecryptable(
        this.name,
        `is under a key that cloakFormat was not given, ${message?.fingerprint ?? 'of no fingerprint'}`,
        'Add it to the keys or the keychain.',
      );
    }
    return openMessage(key, message, () =>
      undecryptable(this.name, 'does not authenticate', 'It was changed: restore the row.'),
    );
  }
}

/** Parses a message of cloak in the only form that cloak writes; `undefined` for anything else. */
function parseMessage(text: string): CloakMessage | undefined {
  const [, fingerprint, ivText = '', sealedText = ''] = FORM.exec(text) ?? [];
  const iv = decodePaddedBase64url(ivText);
  const sealed = decodePaddedBase64url(sealedText);
  if (fingerprint === undefined || iv === undefined || sealed === undefined) return undefined;
  return sealed.length < TAG_BYTES ? undefined : { fingerprint, iv, sealed };
}

/** Opens a message, or throws `failure` if it is not authentic. */
function openMessage(key: KeyObject, { iv, sealed }: CloakMessage, failure: () => Error): Buffer {
  try {
    return openGcm(key, iv, new SealedMessage(sealed, 0, 0), NO_ASSOCIATED_DATA);
  } catch {
    throw failure();
  }
}

/** The keys of cloak, as they are or in an exported keychain. */
export type CloakOptions =
  | {
      /** Serialized keys, `k1.aesgcm256.…`, all that rows were written under. */
      readonly keys: readonly string[];
    }
  | {
      /** A keychain from `exportKeychain` or the `cloak` command (`CLOAK_KEYCHAIN`). */
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
  const list: unknown = texts;
  check.require(
    Array.isArray(list) && list.length > 0,
    'keys must be a list with one key at least',
  );
  return new Map(texts.map((text) => [fingerprintOf(text), parseKey(text, 'each of the keys')]));
}

/** Decrypts the serialized keys of an exported keychain, which is a message of cloak that holds JSON. */
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

/** Returns the fingerprint of a key's text, padding included: cloak accepts keys with and without. */
function fingerprintOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, FINGERPRINT_CHARS);
}
