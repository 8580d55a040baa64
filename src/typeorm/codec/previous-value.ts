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
 * A stored value of a remote format, which was asked for it: stands in a raw row in its place until the
 * row is hydrated, so that the plaintext lives no longer than that, and shows nothing of it.
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

  /** @throws what the format found wrong with the value */
  plaintext(): Uint8Array {
    if (this.#plaintext instanceof FieldEncryptionError) throw this.#plaintext;
    return this.#plaintext;
  }
}

/** Whether a stored value has the form of the format, or had it before it was fetched. */
export function hasPreviousForm(format: PreviousFormat, stored: unknown): boolean {
  return stored instanceof FetchedValue || format.recognises(textOf(stored));
}

/**
 * Decrypts a stored value of another library, as the declared type of the column.
 *
 * @throws {@link DecryptionError} when it does not decrypt, or holds another type
 * @throws {@link FieldEncryptionError} of other classes, where the format's key is out of reach
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

/** What is neither ours nor of the format named for the column. */
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
 * Has a remote format decrypt stored values of its form, and answers what to put in the place of each.
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
  // Such as a row that was handed back by the statement that wrote another column of it.
  throw new KmsUnavailableError(
    `${policy.entity}.${policy.property}: a value of ${format.name} was not fetched ahead. Read the row again.`,
    { entity: policy.entity, property: policy.property },
  );
}

/** Names the field. Errors of anything but this library are dropped: it may quote what it was decrypting. */
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

/** A binary column may hold the text as bytes. What is not text has no form that is recognised. */
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
