import type { KeyObject } from 'node:crypto';

import { openGcm } from '../crypto/gcm';
import { SealedMessage } from '../encoding/sealed-message';
import { decodePaddedBase64url } from './canonical-base64';
import type { LocalPreviousFormat } from './previous-format';
import { undecryptable } from './undecryptable';

/** A message of cloak, taken apart. */
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
 * Reads `v1.aesgcm256.<fingerprint>.<iv>.<ciphertext ‖ tag>`, the form of `@47ng/cloak` and of what is
 * built on it, such as prisma-field-encryption.
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

/** Reads a message of cloak in the one form in which cloak writes it; `undefined` for anything else. */
export function parseMessage(text: string): CloakMessage | undefined {
  const [, fingerprint, ivText = '', sealedText = ''] = FORM.exec(text) ?? [];
  const iv = decodePaddedBase64url(ivText);
  const sealed = decodePaddedBase64url(sealedText);
  if (fingerprint === undefined || iv === undefined || sealed === undefined) return undefined;
  return sealed.length < TAG_BYTES ? undefined : { fingerprint, iv, sealed };
}

/** @throws `failure` when the message is not authentic */
export function openMessage(
  key: KeyObject,
  { iv, sealed }: CloakMessage,
  failure: () => Error,
): Buffer {
  try {
    return openGcm(key, iv, new SealedMessage(sealed, 0, 0), NO_ASSOCIATED_DATA);
  } catch {
    throw failure();
  }
}
