import type { KmsProvider, WrappedKey } from './kms-provider';

/** What a provider says of a wrapped key by {@link KmsProvider.isAuthenticated}; a failure is a no. */
export function isAuthenticated(kms: KmsProvider, wrapped: WrappedKey): boolean {
  try {
    return kms.isAuthenticated?.(wrapped) ?? true;
  } catch {
    return false;
  }
}
