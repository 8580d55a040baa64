import { randomBytes } from 'node:crypto';

import { AeadError, createAead } from '../../crypto/aead';
import { openBytes, sealBytes } from '../../crypto/gcm';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { KeyNotFoundError, KeyUnwrapError } from '../../errors';
import type { KeyBinding, KmsProvider } from '../../kms/kms-provider';
import type { KeyRecord } from '../record/key-record';
import type { KeyStore } from '../store/key-store';

/** An empty key table in memory, for a drill, which accepts the inserts of a restore and nothing else. */
export class ScratchKeyStore implements KeyStore {
  readonly #records: KeyRecord[] = [];

  exists(): Promise<boolean> {
    return Promise.resolve(true);
  }

  findCurrent(purpose: KeyRecord['purpose'], names: readonly string[]): Promise<KeyRecord[]> {
    return this.#filter((key) => key.purpose === purpose && names.includes(key.name));
  }

  findByIds(ids: readonly string[]): Promise<KeyRecord[]> {
    return this.#filter(({ id }) => ids.includes(id));
  }

  keysOfStoredValues(): Promise<string[]> {
    return Promise.resolve([]);
  }

  now(): Promise<Date> {
    return Promise.resolve(new Date());
  }

  snapshotAge(): Promise<number> {
    return Promise.resolve(0);
  }

  list(): Promise<KeyRecord[]> {
    return this.#filter(() => true);
  }

  duplicates(): Promise<string[]> {
    return Promise.resolve([]);
  }

  requireInsertable(): void {
    // In memory there is no transaction to refuse.
  }

  insertFirst({ purpose, name }: KeyRecord): Promise<boolean> {
    return Promise.reject(new KeyNotFoundError(`the backup has no ${purpose} key "${name}".`));
  }

  apply(changes: Parameters<KeyStore['apply']>[0]): Promise<boolean> {
    const records = changes.flatMap((change) => (change.type === 'insert' ? [change.record] : []));
    this.#records.push(...records);
    return Promise.resolve(records.length === changes.length);
  }

  addUses(): Promise<void> {
    return Promise.resolve();
  }

  #filter(test: (record: KeyRecord) => boolean): Promise<KeyRecord[]> {
    return Promise.resolve(this.#records.filter(test));
  }
}

/** A KMS with a random KEK that vanishes with the object. */
export function scratchKms(): KmsProvider {
  const aead = createAead('xaes-256-gcm', randomBytes(32));
  const bound = (binding: KeyBinding): Uint8Array =>
    lengthPrefixed([binding.application, binding.keyId, binding.keyName, binding.purpose]);
  return {
    name: 'scratch',
    wrapKey: (key, binding) => {
      const wrapped = sealBytes(aead, key, bound(binding));
      return Promise.resolve({ kek: 'scratch', wrapped });
    },
    unwrapKey: async ({ wrapped }, binding) => {
      try {
        return await Promise.resolve(openBytes(aead, wrapped, bound(binding)));
      } catch (error) {
        if (!(error instanceof AeadError)) throw error;
        throw new KeyUnwrapError('the scratch KMS does not open it', { cause: error });
      }
    },
    health: () => Promise.resolve({ ok: true }),
  };
}
