import { prefixOfText } from '../format/data-key-id';
import { keyPrefixOf } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';

/** The one found last by any of them: most often that of the next result, too. */
let lastFound: string | undefined;

/**
 * Collects the prefixes of the data keys that stored values need. A value is inspected only where its
 * beginning is new: nearly all rows share a few keys.
 */
export class KeyPrefixes {
  readonly found = new Set<string>();
  /** The one found last here: most often that of the next value, too. */
  #last: string | undefined;

  add(encrypted: EncryptedColumn, stored: unknown): void {
    if (stored === null || stored === undefined) return;
    if (typeof stored === 'string' && this.#begins(stored)) return;
    const prefix = keyPrefixOf(encrypted, stored);
    if (prefix === undefined) return;
    this.#find(prefix);
  }

  #begins(stored: string): boolean {
    const prefix = prefixOfText(stored);
    if (prefix === this.#last) return true;
    if (prefix === lastFound) this.#find(prefix);
    return this.found.has(prefix);
  }

  #find(prefix: string): void {
    this.found.add(prefix);
    this.#last = prefix;
    lastFound = prefix;
  }
}
