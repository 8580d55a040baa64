import { inspect } from 'node:util';

import type { FieldEncryptionError } from '../../src/errors';
import type { KeyBinding } from '../../src/kms/kms-provider';

export const KEY = Buffer.alloc(32, 0x2a);

export const BINDING: KeyBinding = {
  application: 'clinic',
  keyId: '0123456789abcdef',
  keyName: 'default',
  purpose: 'data',
};

/** What the promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<FieldEncryptionError> {
  return promise.then(
    () => {
      throw new Error('did not reject');
    },
    (error: unknown) => error as FieldEncryptionError,
  );
}

/** All that an error shows to whoever prints it, with its causes and hidden properties. */
export function shown(error: unknown): string {
  return `${inspect(error, { depth: 20, showHidden: true })}\n${JSON.stringify(error)}\n${String(error)}`;
}
