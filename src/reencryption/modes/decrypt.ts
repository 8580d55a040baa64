import { UnsupportedValueError } from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import { decryptStored, fetchPrevious, storedForm } from '../../typeorm/encrypted-column';
import { formatCleartext } from '../format-cleartext';
import { isNull } from './cells';
import type { Mode } from './mode';

/** Turns rows back into cleartext. */
export const decrypt: Mode = {
  name: 'decrypt',
  pending: 'encrypted',
  readsTokens: true,
  writes: 'both',
  takes: ({ readsPlaintext }) => readsPlaintext,
  needs: 'may hold cleartext: list it in `legacyPlaintext`',
  prepare: fetchPrevious,
  transform: (encrypted, cells, readable) => {
    if (isNull(cells.stored) || storedForm(encrypted, cells.stored) === 'cleartext') return cells;
    const value = decryptStored(encrypted, readable);
    return { stored: cleartextOf(encrypted.policy, value), tokens: cells.tokens.map(() => null) };
  },
};

function cleartextOf(policy: FieldPolicy, value: unknown): string | Buffer {
  const cleartext = formatCleartext(policy, value);
  if (cleartext !== undefined) return cleartext;
  const { entity, property } = policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: the value would not come back the same from cleartext. It stays encrypted.`,
    { entity, property },
  );
}
