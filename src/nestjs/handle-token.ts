import { Inject } from '@nestjs/common';

/** Returns the token of the `FieldEncryption` of a DataSource, such as for `app.get(...)` in tests. */
export function getFieldEncryptionToken(name = 'default'): string {
  return `FieldEncryption:${name}`;
}

/** Injects the `FieldEncryption` of a DataSource, by default of the one without a name. */
export function InjectFieldEncryption(name?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getFieldEncryptionToken(name));
}
