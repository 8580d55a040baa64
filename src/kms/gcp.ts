import { GcpClient } from './gcp/gcp-client';
import { GcpKmsProvider } from './gcp/gcp-kms-provider';
import { parseOptions } from './gcp/options';
import type { GcpKmsOptions } from './gcp/options';
import type { KmsProvider } from './kms-provider';
import { RemoteCalls } from './remote/remote-calls';

export type { GcpKmsOptions } from './gcp/options';

/**
 * Wraps data keys under a symmetric key of Google Cloud KMS, which never leaves it. Loads nothing
 * and calls nothing before the first use. Needs the package `@google-cloud/kms`.
 *
 * @example
 * ```ts
 * gcpKms({ keyName: 'projects/clinic/locations/europe-west3/keyRings/fields/cryptoKeys/kek' })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function gcpKms(options: GcpKmsOptions): KmsProvider {
  const parsed = parseOptions(options);
  const client = new GcpClient(parsed, new RemoteCalls('gcpKms', parsed.limits));
  return new GcpKmsProvider(client, parsed.keyName);
}
