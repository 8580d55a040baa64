import type { CipherSuite } from '../../src/crypto/aead';
import type { ValueType } from '../../src/encoding/value-codec';
import type { FieldEncryptionError } from '../../src/errors';
import { FieldCipher } from '../../src/field/field-cipher';
import type { FieldPolicy } from '../../src/field/field-policy';
import { DEFAULT_MAX_VALUE_BYTES } from '../../src/field/field-policy';

import { staticKey, StaticKeySource } from './static-key-source';

export const SUITES: readonly CipherSuite[] = [
  'xaes-256-gcm',
  'xchacha20-poly1305',
  'aes-256-gcm-siv',
];

export const VALUE_TYPES: readonly ValueType[] = [
  'string',
  'number',
  'bigint',
  'boolean',
  'date',
  'json',
  'bytes',
];

export const KEY_ID = '0123456789abcdef';

export function fieldPolicy(overrides: Partial<FieldPolicy> = {}): FieldPolicy {
  return {
    entity: 'Patient',
    property: 'secret',
    fieldId: 'Patient.secret',
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
    ...overrides,
  };
}

/** A cipher over one fixed key, unless a key source is given. */
export function fieldCipher(
  overrides: Partial<FieldPolicy> = {},
  options: { suite?: CipherSuite; keys?: StaticKeySource; application?: string } = {},
): FieldCipher {
  const { suite = 'xaes-256-gcm', application = 'clinic' } = options;
  const keys = options.keys ?? new StaticKeySource([staticKey({ id: KEY_ID, suite })]);
  return new FieldCipher(fieldPolicy(overrides), application, keys);
}

/** What an action throws; fails when it throws nothing. */
export function thrownBy(action: () => unknown): FieldEncryptionError {
  try {
    action();
  } catch (error) {
    return error as FieldEncryptionError;
  }
  throw new Error('nothing was thrown');
}
