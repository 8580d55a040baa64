import { FieldEncryptionError } from '../../errors';
import { PREFIX_CHARS } from '../../format/data-key-id';
import type { DataKey } from '../../keys/data-key';
import type { KeySource } from '../../keys/key-source';

/** The keys that ciphertexts are under, as far as they can be had. */
export class FoundKeys {
  readonly #source: KeySource;
  readonly #byPrefix = new Map<string, DataKey | undefined>();
  #last: string | undefined;

  constructor(source: KeySource) {
    this.#source = source;
  }

  get keys(): DataKey[] {
    return [...this.#byPrefix.values()].filter((key) => key !== undefined);
  }

  /** Whether the key of a ciphertext is there. Nearly all have that of the one before. */
  has(stored: string): boolean {
    if (this.#last !== undefined && stored.startsWith(this.#last)) return true;
    const prefix = stored.slice(0, PREFIX_CHARS);
    if (!this.#byPrefix.has(prefix)) this.#byPrefix.set(prefix, findKey(this.#source, prefix));
    if (this.#byPrefix.get(prefix) === undefined) return false;
    this.#last = prefix;
    return true;
  }
}

/** The key of a prefix, or `undefined` where it cannot be had. */
export function findKey(source: KeySource, prefix: string): DataKey | undefined {
  try {
    return source.keyByPrefix(prefix);
  } catch (error) {
    if (error instanceof FieldEncryptionError) return undefined;
    throw error;
  }
}
