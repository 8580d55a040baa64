import type { KeyManagementServiceClient } from '@google-cloud/kms';

import { isText, OptionChecks, REMOTE_OPTIONS } from '../remote/option-checks';
import type { RemoteOptions } from '../remote/option-checks';
import type { RemoteLimits } from '../remote/remote-calls';

/** The key of Google Cloud KMS that wraps, and how to reach it. */
export interface GcpKmsOptions extends RemoteOptions {
  /** `projects/…/locations/…/keyRings/…/cryptoKeys/…`, without a version. */
  readonly keyName: string;
  /**
   * A client of your own, for credentials, endpoints and the like, which you close yourself. Defaults
   * to one with the application default credentials.
   */
  readonly client?: KeyManagementServiceClient;
}

/** Checked options. */
export interface ParsedOptions {
  readonly keyName: string;
  readonly client: KeyManagementServiceClient | undefined;
  readonly limits: RemoteLimits;
}

const NAMES: readonly string[] = [
  'keyName',
  'client',
  ...REMOTE_OPTIONS,
] satisfies (keyof GcpKmsOptions)[];

const KEY_NAME =
  /^projects\/[\w.:-]{1,100}\/locations\/[\w-]{1,63}\/keyRings\/[\w-]{1,63}\/cryptoKeys\/[\w-]{1,63}$/;

const check: OptionChecks = new OptionChecks('gcpKms');

/** @throws {@link ConfigurationError} that names the option */
export function parseOptions(options: GcpKmsOptions): ParsedOptions {
  check.known(options, NAMES);
  const { keyName, client } = options;
  check.require(
    isText(keyName) && KEY_NAME.test(keyName),
    'keyName must be projects/…/locations/…/keyRings/…/cryptoKeys/…, without a version',
  );
  check.require(
    client === undefined || typeof client.encrypt === 'function',
    'client must be a KeyManagementServiceClient',
  );
  return { keyName, client, limits: check.limits(options) };
}
