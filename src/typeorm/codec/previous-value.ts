import { inspect, TextDecoder } from 'node:util';

import {
  DecryptionError,
  FieldEncryptionError,
  KmsUnavailableError,
  PlaintextFoundError,
} from '../../errors';
import { keyUnusable } from '../../field/field-errors';
import type { FieldPolicy } from '../../field/field-policy';
import type { PreviousFormat, RemotePreviousFormat } from '../../import/previous-format';

import { parseCleartext } from './cleartext';

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A stored value with the plaintext that its remote format returned. Replaces the stored value in a raw row
 * until the row is hydrated, so that the plaintext lives no longer, and does not show it.
 */
export class FetchedValue {
  readonly stored: unknown;
  readonly #plaintext: Uint8Array | FieldEncryptionError;

  constructor(stored: unknown, plaintext: Uint8Array | FieldEncryptionError) {
    this.stored = stored;
    this.#plaintext = plaintext;
  }

  toJSON(): unknown {
    return this.stored;
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }

  /** @throws the error that the format had for the value */
  plaintext(): Uint8Array {
    if (this.#plaintext instanceof FieldEncryptionError) throw this.#plaintext;
    return this.#plaintext;
  }
}

/** Whether a stored value has, or had before it was fetched, the form of a format. */
export function hasPreviousForm(format: PreviousFormat, stored: unknown): boolean {
  return stored instanceof FetchedValue || format.recognises(textOf(stored));
}

/**
 * Decrypts a stored value of another library, as the declared type of the column.
 *
 * @throws {@link DecryptionError} if it does not decrypt, or holds another type
 * @throws {@link FieldEncryptionError} of other classes, if the format's key is out of reach
 */
export function readPrevious(
  policy: FieldPolicy,
  format: PreviousFormat,
  stored: unknown,
): unknown {
  const plaintext = open(policy, format, stored);
  const cleartext = policy.type === 'bytes' ? plaintext : decodeText(plaintext);
  const value = cleartext === undefined ? undefined : parseCleartext(policy, cleartext);
  if (value !== undefined) return value;
  throw doesNotRead(
    policy,
    `decrypts to something that is not a ${policy.type}. Check the key of ${format.name}, or ` +
      'declare the type that was written',
  );
}

/** Returns the error of a value that neither this library nor the format of the column has written. */
export function formatNotRecognised(
  { entity, property }: FieldPolicy,
  { name }: PreviousFormat,
): PlaintextFoundError {
  return new PlaintextFoundError(
    `${entity}.${property}: the column holds a value that is neither encrypted nor of the form of ${name}, ` +
      'which `previousFormats` names for it. Correct the row, or the options of the format; where rows ' +
      'are in clear, list the property in `legacyPlaintext` as well.',
    { entity, property },
  );
}

/**
 * Decrypts stored values of a remote format's form, and returns what replaces each of them.
 *
 * @throws {@link KmsUnavailableError}, {@link ConfigurationError}, naming the column
 */
export async function fetchRemote(
  policy: FieldPolicy,
  format: RemotePreviousFormat,
  stored: readonly unknown[],
): Promise<Map<unknown, FetchedValue>> {
  const texts = [...new Set(stored.map(textOf))];
  const plaintexts = await decryptAll(policy, format, texts);
  const byText = new Map(texts.map((text, i) => [text, plaintexts[i]]));
  return new Map(
    stored.map((value) => {
      const plaintext = byText.get(textOf(value)) ?? doesNotRead(policy, 'was not decrypted');
      return [value, new FetchedValue(value, plaintext)];
    }),
  );
}

async function decryptAll(
  policy: FieldPolicy,
  format: RemotePreviousFormat,
  texts: readonly string[],
): Promise<readonly (Uint8Array | FieldEncryptionError)[]> {
  if (texts.length === 0) return [];
  try {
    return await format.decryptAll(texts);
  } catch (error) {
    throw failureOf(policy, error);
  }
}

function open(policy: FieldPolicy, format: PreviousFormat, stored: unknown): Uint8Array {
  try {
    if (stored instanceof FetchedValue) return stored.plaintext();
    if ('decrypt' in format) return format.decrypt(textOf(stored));
  } catch (error) {
    throw failureOf(policy, error);
  }
  // Such as that of a row which a write of another column returned.
  throw new KmsUnavailableError(
    `${policy.entity}.${policy.property}: a value of ${format.name} was not fetched ahead. Read the row again.`,
    { entity: policy.entity, property: policy.property },
  );
}

/** Returns an error that names the field. One of anything but this library is dropped, as it may quote the value. */
function failureOf(policy: FieldPolicy, error: unknown): unknown {
  if (error instanceof FieldEncryptionError) return keyUnusable(policy, error);
  return doesNotRead(policy, 'makes its format fail. Correct the row or the format');
}

function doesNotRead({ entity, property }: FieldPolicy, what: string): DecryptionError {
  return new DecryptionError(
    `${entity}.${property}: a value that another library encrypted ${what}.`,
    { entity, property },
  );
}

/** Returns a stored value as text, which a binary column holds as bytes; empty for any other value. */
function textOf(stored: unknown): string {
  if (typeof stored === 'string') return stored;
  return stored instanceof Uint8Array ? Buffer.from(stored).toString('utf8') : '';
}

function decodeText(plaintext: Uint8Array): string | undefined {
  try {
    return UTF_8.decode(plaintext);
  } catch {
    return undefined;
  }
}
