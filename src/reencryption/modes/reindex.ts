import { decryptStored, fetchPrevious } from '../../typeorm/encrypted-column';
import { isNull, tokensOf } from './cells';
import type { Mode } from './mode';

/** Gives rows the tokens that the blind indexes have now. */
export const reindex: Mode = {
  name: 'reindex',
  pending: undefined,
  readsTokens: true,
  writes: 'tokens',
  takes: ({ indexes }) => indexes.length > 0,
  needs: 'has a blind index',
  prepare: fetchPrevious,
  transform: (encrypted, { stored }, readable) => ({
    stored,
    tokens: isNull(stored)
      ? encrypted.indexes.map(() => null)
      : tokensOf(encrypted, decryptStored(encrypted, readable)),
  }),
};
