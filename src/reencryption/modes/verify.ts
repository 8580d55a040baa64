import { decryptStored, fetchPrevious } from '../../typeorm/encrypted-column';
import { isNull, isOthers, tokensOf } from './cells';
import type { Mode } from './mode';

/** Reads rows and their tokens, and changes nothing. */
export const verify: Mode = {
  name: 'verify',
  pending: undefined,
  readsTokens: true,
  writes: 'nothing',
  takes: () => true,
  needs: 'is encrypted',
  prepare: fetchPrevious,
  transform: (_, cells) => cells,
  check: (encrypted, { stored, tokens }, readable) => {
    if (isNull(stored)) return undefined;
    const value = decryptStored(encrypted, readable);
    // A row that is not encrypted yet has no tokens yet.
    if (isOthers(encrypted, stored)) return undefined;
    const expected = tokensOf(encrypted, value);
    return expected.every((token, i) => token === tokens[i]) ? undefined : 'STALE_TOKEN';
  },
};
