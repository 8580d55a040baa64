import { decryptStored, fetchPrevious, storedForm } from '../../typeorm/encrypted-column';
import { isNull, tokensOf } from './cells';
import type { Mode } from './mode';

const MAY_HOLD_OTHER =
  'may hold values that this library did not encrypt: list it in `legacyPlaintext` or `previousFormats`';

/** Encrypts what another library, or none, has written. */
export const encrypt: Mode = {
  name: 'encrypt',
  pending: 'notEncrypted',
  readsTokens: true,
  writes: 'both',
  takes: ({ readsPlaintext, previousFormat }) => readsPlaintext || previousFormat !== undefined,
  needs: MAY_HOLD_OTHER,
  prepare: fetchPrevious,
  transform: (encrypted, cells, readable) => {
    if (isNull(cells.stored)) return cells;
    const form = storedForm(encrypted, cells.stored);
    if (form === 'ciphertext' || form === 'damaged') {
      // Opens what is there already, so that a damaged row is named.
      encrypted.cipher.openRaw(cells.stored);
      return cells;
    }
    const value = decryptStored(encrypted, readable);
    return { stored: encrypted.cipher.encrypt(value), tokens: tokensOf(encrypted, value) };
  },
};
