import { constants, createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { KeyVaultKey } from '@azure/keyvault-keys';

import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { ConfigurationError, KeyUnwrapError } from '../../errors';
import type { KeyBinding } from '../kms-provider';

import type { AzureClient } from './azure-client';
import type { KeyPlace, ParsedOptions } from './options';
import { KEY_WRAPS } from './wrapped-form';
import type { Signature, SignerName, WrappedForm } from './wrapped-form';

const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } as const;
const RSA = KEY_WRAPS.find(({ name }) => name === 'RSA-OAEP-256')?.keyTypes ?? [];
/** The most public keys that are kept, one for each version that has signed. */
const MOST_KEYS = 32;

/** A key that may sign. */
export interface Signer {
  readonly name: SignerName;
  readonly place: KeyPlace & { readonly version: string };
}

type UnsignedForm = Omit<WrappedForm, 'signature'>;

/**
 * PS256 signatures over a wrapped key and its binding. They prove that somebody who can use the vault
 * wrapped the key, for which its public key would otherwise suffice. They are verified with a public key
 * that the vault returns by name and version; the name comes from the options.
 */
export class Signatures {
  readonly #client: AzureClient;
  readonly #kek: KeyPlace;
  readonly #signingKey: KeyPlace | undefined;
  readonly #publicKeys = new Map<string, Promise<KeyObject>>();

  constructor(client: AzureClient, { kek, signer }: Pick<ParsedOptions, 'kek' | 'signer'>) {
    this.#client = client;
    this.#kek = kek;
    this.#signingKey = signer;
  }

  /**
   * Finds the key that signs now.
   *
   * @param kek - the version of the KEK that wraps.
   * @throws {@link ConfigurationError} for a key that may not sign
   */
  async signer(kek: KeyVaultKey): Promise<Signer> {
    const key = this.#signingKey ? await this.#client.describeKey(this.#signingKey) : kek;
    const { version = '', enabled, exportable } = key.properties;
    if (!canSign(key) || enabled === false || exportable === true) {
      throw new ConfigurationError(
        `azureKms: the key "${key.name}" cannot sign what it wraps, and without a signature anybody with ` +
          'its public key could make data keys. It must be an enabled RSA key that is not exportable; ' +
          'run: az keyvault key set-attributes --ops wrapKey unwrapKey sign verify. ' +
          'Or give signingKeyId, or wrap with a symmetric key (A256KW).',
      );
    }
    return {
      name: this.#signingKey ? 'signingKey' : 'kek',
      place: { name: key.name, version },
    };
  }

  /** Signs what was wrapped. */
  async sign(signer: Signer, form: UnsignedForm, binding: KeyBinding): Promise<Signature> {
    const digest = createHash('sha256').update(signedBytes(form, binding)).digest();
    const { result: bytes } = await this.#client.sign(signer.place, digest);
    return { signer: signer.name, version: signer.place.version, bytes };
  }

  /** @throws {@link KeyUnwrapError} for an invalid signature, and errors of the vault */
  async requireHolds(
    { signer, version, bytes }: Signature,
    form: UnsignedForm,
    binding: KeyBinding,
  ): Promise<void> {
    const place = signer === 'kek' ? this.#kek : this.#signingKey;
    if (place === undefined) {
      throw new KeyUnwrapError(
        'azureKms: the wrapped key was signed by a signing key, and this provider has none. Set signingKeyId.',
      );
    }
    const key = await this.#publicKey(place.name, version);
    if (verify('sha256', signedBytes(form, binding), { key, ...PSS }, bytes)) return;
    throw new KeyUnwrapError(
      'azureKms: the signature of the wrapped key does not hold: the key row was edited, swapped or ' +
        'made by somebody else.',
    );
  }

  forget(): void {
    this.#publicKeys.clear();
  }

  #publicKey(name: string, version: string): Promise<KeyObject> {
    const id = `${name}/${version}`;
    const known = this.#publicKeys.get(id);
    if (known !== undefined) return known;
    const asked = this.#client.describeSigner({ name, version }).then(publicKeyOf);
    // Versions come from key rows, which may be forged.
    if (this.#publicKeys.size >= MOST_KEYS) this.#publicKeys.clear();
    this.#publicKeys.set(id, asked);
    asked.catch(() => {
      if (this.#publicKeys.get(id) === asked) this.#publicKeys.delete(id);
    });
    return asked;
  }
}

function canSign({ keyType = '', keyOperations = [] }: KeyVaultKey): boolean {
  return RSA.includes(keyType) && keyOperations.includes('sign');
}

/** Returns the message to sign: label, algorithm, KEK version, binding, and the hash of what was wrapped. */
function signedBytes({ algorithm, version, body }: UnsignedForm, binding: KeyBinding): Uint8Array {
  const { application, keyId, keyName, purpose } = binding;
  const hash = createHash('sha256').update(body).digest();
  return lengthPrefixed([
    LABELS.azureSignature,
    algorithm,
    version,
    ...[application, keyId, keyName, purpose],
    hash,
  ]);
}

function publicKeyOf({ key, keyType = '', properties }: KeyVaultKey): KeyObject {
  if (properties.enabled === false) {
    throw new KeyUnwrapError('azureKms: the key version that signed the data key is disabled.');
  }
  const [n, e] = [key?.n, key?.e].map((bytes) => Buffer.from(bytes ?? []).toString('base64url'));
  if (!RSA.includes(keyType) || !n || !e) {
    throw new KeyUnwrapError('azureKms: the key that is said to have signed is no RSA key.');
  }
  return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
}
