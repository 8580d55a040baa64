import { FailoverKmsProvider } from './failover/failover-kms-provider';
import { parseOptions } from './failover/options';
import type { FailoverKmsOptions } from './failover/options';
import type { KmsProvider } from './kms-provider';

export type { FailoverEvent, FailoverKmsOptions } from './failover/options';

/**
 * Combines providers, the preferred one first: every data key is wrapped by all that are up, and
 * unwrapped by the first that is. A provider that fails or is slow is left out within seconds, probed
 * in the background, and used again once it is healthy.
 *
 * @example
 * ```ts
 * failoverKms([vaultKms({ key: 'clinic' }), awsKms({ keyId: 'alias/clinic' })])
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function failoverKms(
  providers: readonly KmsProvider[],
  options: FailoverKmsOptions = {},
): KmsProvider {
  return new FailoverKmsProvider(parseOptions(providers, options));
}
