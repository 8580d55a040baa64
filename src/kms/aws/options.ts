import type { KMSClient } from '@aws-sdk/client-kms';

import { isText, OptionChecks, REMOTE_OPTIONS } from '../remote/option-checks';
import type { RemoteOptions } from '../remote/option-checks';
import type { RemoteLimits } from '../remote/remote-calls';

/** The key of AWS KMS that wraps, and how to reach it. */
export interface AwsKmsOptions extends RemoteOptions {
  /** ARN or id of a symmetric key, or an alias (`alias/clinic`). Best an ARN: an alias can be moved. */
  readonly keyId: string;
  /**
   * A client of your own, for credentials, proxies and the like. Give it `maxAttempts: 1`: the provider
   * does its own retries. Defaults to one with the SDK's usual credentials.
   */
  readonly client?: KMSClient;
  /** Defaults to the region of an ARN, or else to what the SDK finds. */
  readonly region?: string;
  /** Address of the service, such as a VPC endpoint's. */
  readonly endpoint?: string;
}

/** Checked options. */
export interface ParsedOptions {
  readonly keyId: string;
  readonly client: KMSClient | undefined;
  /** For a client that the provider makes itself. */
  readonly settings: { readonly region?: string; readonly endpoint?: string };
  readonly limits: RemoteLimits;
}

const NAMES: readonly string[] = [
  'keyId',
  'client',
  'region',
  'endpoint',
  ...REMOTE_OPTIONS,
] satisfies (keyof AwsKmsOptions)[];

const KEY_ARN = /^arn:aws[\w-]*:kms:([\w-]+):\d{12}:(?:key|alias)\/[\w/-]+$/;
const KEY_ID = /^(?:[\w-]{1,128}|alias\/[\w/-]{1,250})$/;

const check: OptionChecks = new OptionChecks('awsKms');

/** @throws {@link ConfigurationError} that names the option */
export function parseOptions(options: AwsKmsOptions): ParsedOptions {
  check.known(options, NAMES);
  const { keyId, client, region, endpoint } = options;
  check.require(
    isText(keyId) && (KEY_ARN.test(keyId) || KEY_ID.test(keyId)),
    'keyId must be the ARN or id of a key, or an alias (alias/name)',
  );
  check.require(region === undefined || isText(region), 'region must be text');
  check.require(
    endpoint === undefined || (isText(endpoint) && URL.canParse(endpoint)),
    'endpoint must be a URL',
  );
  check.require(
    client === undefined || (region === undefined && endpoint === undefined),
    'a client of your own has region and endpoint already; give them to it',
  );
  check.require(
    client === undefined || typeof client.send === 'function',
    'client must be a KMSClient',
  );
  const [, regionOfKey] = KEY_ARN.exec(keyId) ?? [];
  const place = region ?? regionOfKey;
  return {
    keyId,
    client,
    settings: {
      ...(place === undefined ? {} : { region: place }),
      ...(endpoint === undefined ? {} : { endpoint }),
    },
    limits: check.limits(options),
  };
}
