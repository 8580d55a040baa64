import { UnauthenticatedKeyError } from '../../errors';
import type { DataKey } from '../../keys/data-key';
import type { EncryptedColumn } from '../../typeorm/encrypted-column';
import type { Installation } from '../../typeorm/installation';
import { isNull, isOthers } from './cells';
import type { Mode } from './mode';

/** Moves rows to the active key, without decoding what they hold. */
export function reencrypt({ keys }: Installation): Mode {
  return {
    name: 'reencrypt',
    pending: 'underOtherKey',
    readsTokens: false,
    writes: 'stored',
    takes: () => true,
    needs: 'is encrypted',
    prepare: (_, stored) => Promise.resolve(stored),
    transform: (encrypted, { stored, tokens }) => {
      if (isNull(stored) || isOthers(encrypted, stored)) return { stored, tokens };
      const { cipher } = encrypted;
      const found = cipher.inspect(stored);
      if (found.kind === 'ciphertext') {
        requireAuthenticated(keys.keyByPrefix(found.prefix));
        if (isCurrent(encrypted, found.prefix)) return { stored, tokens };
      }
      return { stored: cipher.sealRaw(cipher.openRaw(stored)), tokens };
    },
  };

  /** A newer key than the active one is the work of a rotation that this process has not seen yet. */
  function isCurrent({ policy }: EncryptedColumn, prefix: string): boolean {
    const active = keys.activeKey(policy.keyName);
    if (prefix === active.prefix) return true;
    const { name, version } = keys.keyByPrefix(prefix);
    return name === active.name && version > active.version;
  }
}

/**
 * Anyone who made such a key may have made up its values, which would not show any more once they are
 * under another key.
 */
function requireAuthenticated({ id, isAuthenticated }: DataKey): void {
  if (isAuthenticated) return;
  throw new UnauthenticatedKeyError(
    `key ${id} is not authenticated, and its rows stay under it. If it is yours, run: ` +
      `field-encryption keys adopt ${id}`,
    { keyId: id },
  );
}
