import type { KeyObject } from 'node:crypto';

import type { Aead, CipherSuite } from '../../src/crypto/aead';
import { createAead } from '../../src/crypto/aead';
import { hkdfSha256, hmacKey } from '../../src/crypto/hmac';
import { nativeDataKey } from '../../src/crypto/native';
import { KeyNotFoundError } from '../../src/errors';
import { keyHeader, keyIdOfPrefix, keyPrefix } from '../../src/format/data-key-id';
import type { DataKey, IndexRoot, IndexRoots, KeySource } from '../../src/keys/key-source';

/** A data key over fixed bytes: `seed` repeated for the key, `id` as given. */
export function staticKey(options: {
  id: string;
  seed?: number;
  suite?: CipherSuite;
  aead?: Aead;
}): DataKey {
  const { id, seed = 1, suite = 'xaes-256-gcm' } = options;
  const bytes = Buffer.alloc(32, seed);
  const header = keyHeader(id);
  return {
    id,
    name: 'default',
    version: 1,
    suite,
    isAuthenticated: true,
    prefix: keyPrefix(id),
    header,
    aead: options.aead ?? createAead(suite, bytes),
    native: options.aead === undefined ? nativeDataKey(suite, bytes, header, 'hedged') : undefined,
    uses: { pending: 0 },
  };
}

export function staticIndexRoot(seed = 9): IndexRoot {
  return {
    id: seed.toString(16).padStart(16, 'f'),
    deriveIndexKey: (info): KeyObject =>
      hmacKey(hkdfSha256({ key: Buffer.alloc(32, seed), info, bytes: 32 })),
  };
}

/** Keys that are always there. The first one is active. */
export class StaticKeySource implements KeySource {
  readonly #keys: readonly DataKey[];
  #roots: IndexRoots;

  constructor(keys: readonly DataKey[], root = staticIndexRoot()) {
    this.#keys = keys;
    this.#roots = [root];
  }

  activeKey(name: string): DataKey {
    const key = this.#keys.find((candidate) => candidate.name === name);
    if (key === undefined) throw new KeyNotFoundError(`no key is named "${name}"`);
    return key;
  }

  keyByPrefix(prefix: string): DataKey {
    const key = this.#keys.find((candidate) => candidate.prefix === prefix);
    if (key === undefined) {
      throw new KeyNotFoundError(`no data key has the id ${String(keyIdOfPrefix(prefix))}`);
    }
    return key;
  }

  indexRoots(): IndexRoots {
    return this.#roots;
  }

  replaceIndexRoots(...roots: IndexRoots): void {
    this.#roots = roots;
  }
}
