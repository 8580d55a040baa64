import { createSecretKey, randomBytes } from 'node:crypto';
import type { Aead } from '../../src/crypto/aead';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';
import type { FieldPolicy } from '../../src/field/field-policy';
import { keyPrefix } from '../../src/format/data-key-id';
import type { DataKey } from '../../src/keys/data-key';
import type { KeySource } from '../../src/keys/key-source';

/** A field without an entity. */
export const POLICY: FieldPolicy = {
  entity: 'Patient',
  property: 'note',
  fieldId: 'Patient.note',
  type: 'string',
  storage: 'text',
  keyName: 'default',
  maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
  columnLength: undefined,
};

/** One data key and one index root, in memory. */
export function keySourceOf(aead: Aead): KeySource {
  const id = '0123456789abcdef';
  const prefix = keyPrefix(id);
  const key: DataKey = {
    id,
    name: 'default',
    version: 1,
    suite: aead.suite,
    isAuthenticated: true,
    prefix,
    header: Buffer.from(prefix, 'base64url'),
    aead,
    native: undefined,
    uses: { pending: 0 },
  };
  const indexKey = createSecretKey(randomBytes(32));
  const indexRoots = [{ id, deriveIndexKey: () => indexKey }] as const;
  return {
    activeKey: () => key,
    keyByPrefix: () => key,
    indexRoots: () => indexRoots,
  };
}
