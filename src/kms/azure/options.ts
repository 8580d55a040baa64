import type { TokenCredential } from '@azure/identity';
import type { CryptographyClientOptions } from '@azure/keyvault-keys';

import { isText, OptionChecks, REMOTE_OPTIONS } from '../remote/option-checks';
import type { RemoteOptions } from '../remote/option-checks';
import type { RemoteLimits } from '../remote/remote-calls';

import { KEY_WRAPS } from './wrapped-form';
import type { KeyWrapName } from './wrapped-form';

/** The key of Azure Key Vault or Managed HSM that wraps, and how to reach it. */
export interface AzureKmsOptions extends RemoteOptions {
  /** `https://<vault>.vault.azure.net/keys/<name>`; with `/<version>`, only that version wraps. */
  readonly keyId: string;
  /** Defaults to `DefaultAzureCredential` of the package `@azure/identity`. */
  readonly credential?: TokenCredential;
  /** `RSA-OAEP-256` for RSA keys, `A256KW` for AES keys of a Managed HSM. Defaults to `RSA-OAEP-256`. */
  readonly algorithm?: KeyWrapName;
  /**
   * RSA key of the same vault that signs what an RSA key wraps; with `/<version>`, only that version
   * signs. Do not change it while key rows are signed by it. Defaults to the key of `keyId` itself.
   */
  readonly signingKeyId?: string;
  /**
   * What to do with keys that an RSA key wrapped before this library signed them, which anybody with the
   * public key could have made: `'read'` decrypts with them until they are adopted, `'refuse'` does not.
   * Defaults to `'read'`.
   */
  readonly unsigned?: 'read' | 'refuse';
  /** Options for the clients of the SDK, such as proxy, TLS and API version. */
  readonly clientOptions?: CryptographyClientOptions;
}

/** A key of the vault. */
export interface KeyPlace {
  readonly name: string;
  /** Undefined for the newest. */
  readonly version: string | undefined;
}

/** Checked options. */
export interface ParsedOptions {
  readonly vaultUrl: string;
  /** The key that wraps. */
  readonly kek: KeyPlace;
  /** The key that signs; undefined for the KEK itself. */
  readonly signer: KeyPlace | undefined;
  readonly readsUnsigned: boolean;
  readonly credential: TokenCredential | undefined;
  readonly algorithm: KeyWrapName;
  readonly clientOptions: CryptographyClientOptions;
  readonly limits: RemoteLimits;
}

const NAMES: readonly string[] = [
  'keyId',
  'credential',
  'algorithm',
  'signingKeyId',
  'unsigned',
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
  const { signingKeyId, unsigned = 'read' } = options;
  const { vaultUrl, place: kek } = parseKeyId('keyId', keyId);
  const signing = signingKeyId === undefined ? undefined : parseKeyId('signingKeyId', signingKeyId);
  check.require(
    signing === undefined || (algorithm === 'RSA-OAEP-256' && signing.vaultUrl === vaultUrl),
    'signingKeyId must be in the vault of keyId, and is for RSA-OAEP-256 alone',
  );
  check.require(['read', 'refuse'].includes(unsigned), "unsigned must be 'read' or 'refuse'");
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
    kek,
    signer: signing?.place,
    readsUnsigned: unsigned === 'read',
    credential,
    algorithm,
    clientOptions,
    limits: check.limits(options),
  };
}

function parseKeyId(
  option: string,
  keyId: unknown,
): { readonly vaultUrl: string; readonly place: KeyPlace } {
  const [, vaultUrl, name, version] = (isText(keyId) ? KEY_ID.exec(keyId) : null) ?? [];
  check.require(
    vaultUrl !== undefined && name !== undefined,
    `${option} must be https://<vault>.vault.azure.net/keys/<name>, with or without /<version>`,
  );
  return { vaultUrl, place: { name, version } };
}
