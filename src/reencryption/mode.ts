import { UnsupportedValueError } from '../errors';
import type { FieldPolicy } from '../field/field-policy';
import type { DataKey } from '../keys/data-key';
import { decryptStored, storedForm } from '../typeorm/encrypted-column';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import type { Installation } from '../typeorm/installation';
import { formatCleartext } from './format-cleartext';
import type { RunMode } from './run-mode';
import type { RowFailureCode } from './run-report';

/** The cells of one encrypted column in one row. */
export interface Cells {
  readonly stored: unknown;
  /** In the order of the column's indexes; empty where the mode leaves them alone. */
  readonly tokens: readonly unknown[];
}

/** Which rows a mode still has to do, as far as the header of a ciphertext tells. */
export type Pending = 'underOtherKey' | 'notEncrypted' | 'encrypted';

/** What a run does to the rows. */
export interface Mode {
  readonly name: RunMode;
  /** `undefined` where only reading tells. */
  readonly pending: Pending | undefined;
  /** Which cells it reads, and which of them it may change. */
  readonly readsTokens: boolean;
  readonly writes: 'both' | 'stored' | 'tokens' | 'nothing';
  /** Columns that it is for. */
  takes(encrypted: EncryptedColumn): boolean;
  /** Why it takes no other, for messages. */
  readonly needs: string;
  /**
   * The cells as they should be.
   *
   * @param readable - the stored value, or what stands in its place where reading it is remote.
   * @throws `FieldEncryptionError` for a value that cannot be read or kept.
   */
  transform(encrypted: EncryptedColumn, cells: Cells, readable: unknown): Cells;
  /** What is wrong with the cells beside what reading them throws. */
  check?(encrypted: EncryptedColumn, cells: Cells, readable: unknown): RowFailureCode | undefined;
}

/** The mode of a run over this installation's rows. */
export function modeOf(name: RunMode, installation: Installation): Mode {
  switch (name) {
    case 'encrypt':
      return encrypt;
    case 'reencrypt':
      return reencrypt(installation);
    case 'reindex':
      return reindex;
    case 'decrypt':
      return decrypt;
    case 'verify':
      return verify;
  }
}

const MAY_HOLD_OTHER =
  'may hold values that this library did not encrypt: list it in `legacyPlaintext` or `previousFormats`';

const encrypt: Mode = {
  name: 'encrypt',
  pending: 'notEncrypted',
  readsTokens: true,
  writes: 'both',
  takes: ({ readsPlaintext, previousFormat }) => readsPlaintext || previousFormat !== undefined,
  needs: MAY_HOLD_OTHER,
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

function reencrypt({ keys }: Installation): Mode {
  /** A newer key than the active one is the work of a rotation that this process has not seen yet. */
  const isCurrent = (prefix: string, active: DataKey): boolean => {
    if (prefix === active.prefix) return true;
    const { name, version } = keys.keyByPrefix(prefix);
    return name === active.name && version > active.version;
  };
  return {
    name: 'reencrypt',
    pending: 'underOtherKey',
    readsTokens: false,
    writes: 'stored',
    takes: () => true,
    needs: 'is encrypted',
    transform: (encrypted, { stored, tokens }) => {
      const { cipher, policy } = encrypted;
      if (isNull(stored) || isOthers(encrypted, stored)) return { stored, tokens };
      const found = cipher.inspect(stored);
      const active = keys.activeKey(policy.keyName);
      if (found.kind === 'ciphertext' && isCurrent(found.prefix, active)) return { stored, tokens };
      return { stored: cipher.sealRaw(cipher.openRaw(stored)), tokens };
    },
  };
}

const reindex: Mode = {
  name: 'reindex',
  pending: undefined,
  readsTokens: true,
  writes: 'tokens',
  takes: ({ indexes }) => indexes.length > 0,
  needs: 'has a blind index',
  transform: (encrypted, { stored }, readable) => ({
    stored,
    tokens: isNull(stored)
      ? encrypted.indexes.map(() => null)
      : tokensOf(encrypted, decryptStored(encrypted, readable)),
  }),
};

const decrypt: Mode = {
  name: 'decrypt',
  pending: 'encrypted',
  readsTokens: true,
  writes: 'both',
  takes: ({ readsPlaintext }) => readsPlaintext,
  needs: 'may hold cleartext: list it in `legacyPlaintext`',
  transform: (encrypted, cells, readable) => {
    if (isNull(cells.stored) || storedForm(encrypted, cells.stored) === 'cleartext') return cells;
    const value = decryptStored(encrypted, readable);
    return { stored: cleartextOf(encrypted.policy, value), tokens: cells.tokens.map(() => null) };
  },
};

const verify: Mode = {
  name: 'verify',
  pending: undefined,
  readsTokens: true,
  writes: 'nothing',
  takes: () => true,
  needs: 'is encrypted',
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

function tokensOf({ indexes }: EncryptedColumn, value: unknown): string[] {
  return indexes.map(({ index }) => index.token(value));
}

/** What is not ours to move: cleartext and values of other libraries, where the column may hold them. */
function isOthers(encrypted: EncryptedColumn, stored: unknown): boolean {
  if (!encrypted.readsPlaintext && encrypted.previousFormat === undefined) return false;
  const form = storedForm(encrypted, stored);
  return form === 'cleartext' || form === 'previous';
}

function cleartextOf(policy: FieldPolicy, value: unknown): string | Buffer {
  const cleartext = formatCleartext(policy, value);
  if (cleartext !== undefined) return cleartext;
  const { entity, property } = policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: the value would not come back the same from cleartext. It stays encrypted.`,
    { entity, property },
  );
}

function isNull(stored: unknown): stored is null | undefined {
  return stored === null || stored === undefined;
}
