import type { FieldEncryptionError } from '../../src/errors';
import type { KeyBinding } from '../../src/kms/kms-provider';
import type { TestModule } from './pkcs11-modules';

export const KEY = Buffer.alloc(32, 0x2a);

export const BINDING: KeyBinding = {
  application: 'clinic',
  keyId: '0123456789abcdef',
  keyName: 'default',
  purpose: 'data',
};

/** A describe for tests of a module, or a skipped test that says what is missing. */
export function describeOn(module: TestModule, title: string, tests: () => void): void {
  if (module.missing !== undefined) {
    it.skip(`${title} on ${module.name} (not here: ${module.missing})`, () => {});
    return;
  }
  describe(`${title} on ${module.name}`, () => {
    beforeAll(() => module.start());
    tests();
  });
}

export async function rejection(promise: Promise<unknown>): Promise<FieldEncryptionError> {
  return promise.then(
    () => {
      throw new Error('did not reject');
    },
    (error: unknown) => error as FieldEncryptionError,
  );
}
