import { prefixOfText } from '../../format/data-key-id';

import { keyPrefixOf } from './encrypted-column';
import type { EncryptedColumn } from './encrypted-column';

/**
 * The prefixes of the data keys that stored values need. A value is inspected only if its beginning is new:
 * nearly all rows share a few keys.
 */
export class KeyPrefixes {
  readonly found = new Set<string>();

  add(encrypted: EncryptedColumn, stored: unknown): void {
    if (stored === null || stored === undefined) return;
    if (typeof stored === 'string' && this.found.has(prefixOfText(stored))) return;
    const prefix = keyPrefixOf(encrypted, stored);
    if (prefix !== undefined) this.found.add(prefix);
  }
}
