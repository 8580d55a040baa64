import { AwsClient } from './aws/aws-client';
import { AwsKmsProvider } from './aws/aws-kms-provider';
import { parseOptions } from './aws/options';
import type { AwsKmsOptions } from './aws/options';
import type { KmsProvider } from './kms-provider';
import { RemoteCalls } from './remote/remote-calls';

export type { AwsKmsOptions } from './aws/options';

/**
 * Wraps data keys under a symmetric key of AWS KMS, which never leaves it. Loads nothing and
 * calls nothing before the first use. Needs the package `@aws-sdk/client-kms`.
 *
 * @example
 * ```ts
 * awsKms({ keyId: 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab' })
 * ```
 * @throws {@link ConfigurationError} for options that cannot work
 */
export function awsKms(options: AwsKmsOptions): KmsProvider {
  const parsed = parseOptions(options);
  const client = new AwsClient(parsed, new RemoteCalls('awsKms', parsed.limits));
  return new AwsKmsProvider(client, parsed.keyId);
}
