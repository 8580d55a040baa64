import { PREFIX_CHARS } from '../format/data-key-id';
import { keyPrefixOf } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';

/**
 * Collects the prefixes of the data keys that stored values need. A value is inspected only where its
 * beginning is new: nearly all rows share a few keys.
 */
export class KeyPrefixes {
  readonly found = new Set<string>();
  /** The one found last: most often that of the next value too, which is then not sliced. */
  #last: string | undefined;

  add(encrypted: EncryptedColumn, stored: unknown): void {
    if (stored === null || stored === undefined) return;
    if (typeof stored === 'string' && this.#begins(stored)) return;
    const prefix = keyPrefixOf(encrypted, stored);
    if (prefix === undefined) return;
    this.found.add(prefix);
    this.#last = prefix;
  }

  #begins(stored: string): boolean {
    if (this.#last !== undefined && stored.startsWith(this.#last)) return true;
    return this.found.has(stored.slice(0, PREFIX_CHARS));
  }
}
