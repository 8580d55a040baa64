import type { TokenCredential } from '@azure/identity';
import type { CryptographyClientOptions } from '@azure/keyvault-keys';

import type { RemoteOptions } from '../remote/option-checks';
import { isText, OptionChecks, REMOTE_OPTIONS } from '../remote/option-checks';
import type { RemoteLimits } from '../remote/remote-calls';
import type { KeyWrapName } from './wrapped-form';
import { KEY_WRAPS } from './wrapped-form';

/** Which key of Azure Key Vault or Managed HSM wraps, and how to get at it. */
export interface AzureKmsOptions extends RemoteOptions {
  /** `https://<vault>.vault.azure.net/keys/<name>`; with `/<version>` to wrap under that one only. */
  readonly keyId: string;
  /** Defaults to `DefaultAzureCredential` of the package `@azure/identity`. */
  readonly credential?: TokenCredential;
  /** `RSA-OAEP-256` for RSA keys, `A256KW` for AES keys of a Managed HSM. Defaults to `RSA-OAEP-256`. */
  readonly algorithm?: KeyWrapName;
  /** For the clients of the SDK: proxy, TLS, API version. */
  readonly clientOptions?: CryptographyClientOptions;
}

/** Checked options. */
export interface ParsedOptions {
  readonly vaultUrl: string;
  readonly keyName: string;
  /** The version to wrap under; undefined for the newest. */
  readonly version: string | undefined;
  readonly credential: TokenCredential | undefined;
  readonly algorithm: KeyWrapName;
  readonly clientOptions: CryptographyClientOptions;
  readonly limits: RemoteLimits;
}

const NAMES: readonly string[] = [
  'keyId',
  'credential',
  'algorithm',
  'clientOptions',
  ...REMOTE_OPTIONS,
] satisfies (keyof AzureKmsOptions)[];

const KEY_ID =
  /^(https:\/\/[\w.-]{1,253}(?::\d{1,5})?)\/keys\/([\w-]{1,127})(?:\/([0-9a-f]{32}))?\/?$/;

const check: OptionChecks = new OptionChecks('azureKms');

/** @throws {@link ConfigurationError} that names the option */
export function parseOptions(options: AzureKmsOptions): ParsedOptions {
  check.known(options, NAMES);
  const { keyId, credential, algorithm = 'RSA-OAEP-256', clientOptions = {} } = options;
  const [, vaultUrl, keyName, version] = (isText(keyId) ? KEY_ID.exec(keyId) : null) ?? [];
  check.require(
    vaultUrl !== undefined && keyName !== undefined,
    'keyId must be https://<vault>.vault.azure.net/keys/<name>, with or without /<version>',
  );
  check.require(
    credential === undefined || typeof credential.getToken === 'function',
    'credential must be a TokenCredential',
  );
  check.require(
    KEY_WRAPS.some(({ name }) => name === algorithm),
    `algorithm must be one of ${KEY_WRAPS.map(({ name }) => name).join(', ')}`,
  );
  check.require(
    typeof clientOptions === 'object' && (clientOptions as unknown) !== null,
    'clientOptions must be an object',
  );
  return {
    vaultUrl,
    keyName,
    version,
    credential,
    algorithm,
    clientOptions,
    limits: check.limits(options),
  };
}
