import {
  ErasedError,
  FieldEncryptionError,
  UnauthenticatedKeyError,
  UnsupportedValueError,
} from '../../errors';
import type { FieldPolicy } from '../../field/field-policy';
import type { DataKey, KeySource } from '../../keys/key-source';
import { ToBeErasedError } from '../../keys/scopes/erasure/marks-of-scopes';
import { dateCleartext, parseCleartext } from '../../typeorm/codec/cleartext';
import type { Installation } from '../../typeorm/installation/installation';
import { decryptStored, fetchPrevious, storedForm } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import type { RunMode } from '../report/run-report';

import type { Mode } from './mode';

function isNull(stored: unknown): stored is null | undefined {
  return stored === null || stored === undefined;
}

/** Whether a value is cleartext or of another library, in a column that may hold such. */
function isOthers(encrypted: EncryptedColumn, stored: unknown): boolean {
  if (!encrypted.readsPlaintext && encrypted.previousFormat === undefined) return false;
  const form = storedForm(encrypted, stored);
  return form === 'cleartext' || form === 'previous';
}

/** Computes the tokens of a value, in the order of the column's indexes. */
function tokensOf({ indexes }: EncryptedColumn, value: unknown): string[] {
  return indexes.map(({ index }) => index.token(value));
}

const MAY_HOLD_OTHER =
  'may hold values that this library did not encrypt: list it in `legacyPlaintext` or `previousFormats`';

/** Encrypts cleartext and values of other libraries. */
const encrypt: Mode = {
  name: 'encrypt',
  pending: 'notEncrypted',
  readsTokens: () => true,
  writes: 'both',
  takes: ({ readsPlaintext, previousFormat }) => readsPlaintext || previousFormat !== undefined,
  needs: MAY_HOLD_OTHER,
  prepare: fetchPrevious,
  transform: (encrypted, field, readable) => {
    if (isNull(field.stored)) return field;
    const form = storedForm(encrypted, field.stored);
    if (form === 'ciphertext' || form === 'damaged') {
      // Opens the ciphertext, so that a damaged row is reported.
      encrypted.cipher.openRaw(field.stored, field.context);
      return field;
    }
    const value = decryptStored(encrypted, readable);
    return {
      stored: encrypted.cipher.encrypt(value, field.context),
      tokens: tokensOf(encrypted, value),
    };
  },
};

/** Computes the tokens of the blind indexes again. */
const reindex: Mode = {
  name: 'reindex',
  pending: undefined,
  readsTokens: () => true,
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

/** Checks values and tokens, and changes nothing. */
const verify = ({ keys }: Installation): Mode => ({
  name: 'verify',
  pending: undefined,
  readsTokens: () => true,
  writes: 'nothing',
  takes: () => true,
  needs: 'is encrypted',
  prepare: fetchPrevious,
  transform: (_, field) => field,
  check: (encrypted, { stored, tokens }, readable) => {
    if (isNull(stored)) return undefined;
    const value = decryptStored(encrypted, readable);
    // A row that is not encrypted yet has no tokens yet.
    if (isOthers(encrypted, stored)) return isOfErased(keys, encrypted) ? 'ERR_ERASED' : undefined;
    const expected = tokensOf(encrypted, value);
    return expected.every((token, i) => token === tokens[i]) ? undefined : 'STALE_TOKEN';
  },
});

/** Whether the scope of the row that is read was erased, so that its cleartext should be gone. */
function isOfErased(keys: KeySource, { policy, scope }: EncryptedColumn): boolean {
  try {
    if (scope?.column !== undefined) keys.activeKey(policy.keyName, scope.current());
    return false;
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    return error instanceof ErasedError && !(error instanceof ToBeErasedError);
  }
}

/**
 * Formats a value as cleartext of its column, the inverse of reading cleartext; `undefined` if it would
 * not come back the same, as bytes that are not UTF-8 in a text column.
 */
function formatCleartext(encrypted: EncryptedColumn, value: unknown): string | Buffer | undefined {
  const { policy } = encrypted;
  if (policy.type === 'bytes') return formatBytes(policy, value as Buffer);
  const text = formatText(encrypted, value);
  if (policy.type === 'number' && !Object.is(parseCleartext(policy, text), value)) return undefined;
  return policy.storage === 'text' ? text : Buffer.from(text, 'utf8');
}

function formatText(encrypted: EncryptedColumn, value: unknown): string {
  switch (encrypted.policy.type) {
    case 'json':
      return JSON.stringify(value);
    case 'date':
      return dateCleartext(encrypted, value as Date);
    default:
      return String(value);
  }
}

function formatBytes({ storage }: FieldPolicy, value: Buffer): string | Buffer | undefined {
  if (storage === 'binary') return value;
  const text = value.toString('utf8');
  return Buffer.from(text, 'utf8').equals(value) ? text : undefined;
}

/** Decrypts values into cleartext. */
const decrypt: Mode = {
  name: 'decrypt',
  pending: 'encrypted',
  readsTokens: () => true,
  writes: 'both',
  takes: ({ readsPlaintext }) => readsPlaintext,
  needs:
    'may hold cleartext, so that the application can read what is decrypted: list it in `legacyPlaintext`',
  prepare: fetchPrevious,
  transform: (encrypted, field, readable) => {
    if (isNull(field.stored) || storedForm(encrypted, field.stored) === 'cleartext') return field;
    const value = decryptStored(encrypted, readable);
    return { stored: cleartextOf(encrypted, value), tokens: field.tokens.map(() => null) };
  },
};

function cleartextOf(encrypted: EncryptedColumn, value: unknown): string | Buffer {
  const cleartext = formatCleartext(encrypted, value);
  if (cleartext !== undefined) return cleartext;
  const { entity, property } = encrypted.policy;
  throw new UnsupportedValueError(
    `${entity}.${property}: the value would not come back the same from cleartext. It stays encrypted.`,
    { entity, property },
  );
}

/** Moves values to the active key, and binds them to their rows where they should be, without decoding them. */
function reencrypt({ keys }: Installation): Mode {
  return {
    name: 'reencrypt',
    pending: 'underOtherKey',
    // Values that get a key of their scope are looked up by tokens of that from then on.
    readsTokens: ({ policy }) => policy.readsUnscoped,
    writes: 'both',
    takes: () => true,
    needs: 'is encrypted',
    prepare: (_, stored) => Promise.resolve(stored),
    transform: (encrypted, { stored, tokens, context }, readable) => {
      if (isNull(stored) || isOthers(encrypted, stored)) return { stored, tokens };
      const { cipher } = encrypted;
      const found = cipher.inspect(stored);
      if (found.kind === 'ciphertext') {
        requireAuthenticated(keys.keyByPrefix(found.prefix));
        const isBound = found.isBound || context === undefined;
        if (isBound && isCurrent(encrypted, found.prefix)) return { stored, tokens };
      }
      return {
        stored: cipher.sealRaw(cipher.openRaw(stored, context), context),
        tokens:
          tokens.length === 0 ? tokens : tokensOf(encrypted, decryptStored(encrypted, readable)),
      };
    },
  };

  /** A newer key than the active one comes from a rotation that this process has not seen yet. */
  function isCurrent({ policy, scope }: EncryptedColumn, prefix: string): boolean {
    const active = keys.activeKey(policy.keyName, scope?.current());
    if (prefix === active.prefix) return true;
    const { name, version } = keys.keyByPrefix(prefix);
    return name === active.name && version > active.version;
  }
}

/**
 * Refuses a key that somebody without the KMS could have made, along with its values: under another
 * key they would look genuine.
 */
function requireAuthenticated({ id, isAuthenticated }: DataKey): void {
  if (isAuthenticated) return;
  throw new UnauthenticatedKeyError(
    `key ${id} is not authenticated, and its rows stay under it. If it is yours, run: ` +
      `field-encryption keys adopt ${id}`,
    { keyId: id },
  );
}

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
      return verify(installation);
  }
}
