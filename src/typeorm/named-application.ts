import type { FieldEncryptionOptions } from './field-encryption-options';

/** The application of those who name none. */
const DEFAULT_APPLICATION = 'default';

/**
 * Whether the application has a name of its own. Without one nothing but the KMS keeps its keys apart
 * from those of another application without a name: where both can use the KEK, each takes the other's.
 */
export function hasNamedApplication({
  application,
}: Pick<FieldEncryptionOptions, 'application'>): boolean {
  return application !== undefined && application !== DEFAULT_APPLICATION;
}
