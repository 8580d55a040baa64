import { FieldEncryptionError, UnauthenticatedKeyError } from '../../errors';
import { keyIdOfPrefix, PREFIX_CHARS } from '../../format/data-key-id';
import type { DataKey } from '../../keys/data-key';
import type { EncryptedColumn } from '../../typeorm/encrypted-column';
import type { Installation } from '../../typeorm/installation';
import type { RunThreads } from '../../threads/run-threads';
import { isNull, isOthers } from './cells';
import type { Mode } from './mode';

/** A value that a thread has moved ahead. */
class MovedValue {
  readonly stored: string;

  constructor(stored: string) {
    this.stored = stored;
  }
}

/** Moves rows to the active key, without decoding what they hold. */
export function reencrypt({ keys }: Installation, threads: RunThreads): Mode {
  return {
    name: 'reencrypt',
    pending: 'underOtherKey',
    readsTokens: false,
    writes: 'stored',
    takes: () => true,
    needs: 'is encrypted',
    prepare: (encrypted, stored) =>
      encrypted.policy.storage !== 'text' ? Promise.resolve(stored) : moveAhead(encrypted, stored),
    transform: (encrypted, { stored, tokens }, readable) => {
      if (readable instanceof MovedValue) return { stored: readable.stored, tokens };
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

  async function moveAhead(
    encrypted: EncryptedColumn,
    stored: readonly unknown[],
  ): Promise<readonly unknown[]> {
    const { policy } = encrypted;
    const oldKeys = new Map<string, DataKey | undefined>();
    const moving: number[] = [];
    for (const [at, value] of stored.entries()) {
      if (typeof value !== 'string' || isOthers(encrypted, value)) continue;
      const prefix = value.slice(0, PREFIX_CHARS);
      if (!oldKeys.has(prefix)) oldKeys.set(prefix, oldKey(encrypted, prefix));
      if (oldKeys.get(prefix) !== undefined) moving.push(at);
    }
    const moved = await threads.move(
      {
        policy,
        keys: [...oldKeys.values()].filter((key) => key !== undefined),
        stored: moving.map((at) => String(stored[at])),
      },
      keys.activeKey(policy.keyName),
    );
    const readable = [...stored];
    for (const [i, at] of moving.entries()) {
      const value = moved[i];
      if (value !== undefined && value !== '') readable[at] = new MovedValue(value);
    }
    return readable;
  }

  /** The key that values are to move away from, where it is plainly that and can be used. */
  function oldKey(encrypted: EncryptedColumn, prefix: string): DataKey | undefined {
    if (keyIdOfPrefix(prefix) === undefined || !encrypted.cipher.knowsKey(prefix)) return undefined;
    try {
      if (isCurrent(encrypted, prefix)) return undefined;
      const key = keys.keyByPrefix(prefix);
      return key.isAuthenticated ? key : undefined;
    } catch (error) {
      // The rows under it say so one by one, and the others of the page are moved.
      if (!(error instanceof FieldEncryptionError) || error.retryable) throw error;
      return undefined;
    }
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
