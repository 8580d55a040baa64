import { createSecretKey, randomBytes } from 'node:crypto';

import type { Aead } from '../../src/crypto/aead';
import type { NativeDataKey } from '../../src/crypto/native';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';
import type { FieldPolicy } from '../../src/field/field-policy';
import { keyHeader, keyPrefix } from '../../src/format/data-key-id';
import type { DataKey, KeySource } from '../../src/keys/key-source';

/** A field without an entity. */
export const POLICY: FieldPolicy = {
  entity: 'Patient',
  property: 'note',
  fieldId: 'Patient.note',
  type: 'string',
  coerce: false,
  storage: 'text',
  keyName: 'default',
  maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
  boundTo: [],
  readsUnbound: false,
  isScoped: false,
  readsUnscoped: false,
  isSealed: false,
  columnLength: undefined,
};

export const KEY_ID = '0123456789abcdef';

/** One data key and one index root, in memory. */
export function keySourceOf(aead: Aead, native?: NativeDataKey): KeySource {
  const prefix = keyPrefix(KEY_ID);
  const key: DataKey = {
    id: KEY_ID,
    name: 'default',
    version: 1,
    suite: aead.suite,
    isAuthenticated: true,
    prefix,
    header: keyHeader(KEY_ID),
    aead,
    native,
    uses: { pending: 0 },
  };
  const indexKey = createSecretKey(randomBytes(32));
  const indexRoots = [{ id: KEY_ID, deriveIndexKey: () => indexKey }] as const;
  return {
    activeKey: () => key,
    keyByPrefix: () => key,
    indexRoots: () => indexRoots,
  };
}
