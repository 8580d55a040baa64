import type { KeyVaultKey } from '@azure/keyvault-keys';

import { wipe } from '../../crypto/secret-bytes';
import { ConfigurationError, KeyUnwrapError } from '../../errors';
import { newInnerKey, openBound, sealBound, unwrappedKey } from '../key-bytes';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { healthOf, UsedRights } from '../remote/health';

import type { AzureClient } from './azure-client';
import type { ParsedOptions } from './options';
import { Signatures } from './signatures';
import {
  AES_WRAP_BYTES,
  associatedData,
  isAuthenticated,
  isPublic,
  KEY_WRAPS,
  parse,
  serialize,
} from './wrapped-form';
import type { WrappedForm } from './wrapped-form';

/**
 * A provider that wraps and unwraps through Azure Key Vault or Managed HSM. What an RSA key wraps is
 * signed together with the binding; an AES key wraps an inner key under which data key and binding are
 * sealed.
 */
export class AzureKmsProvider implements KmsProvider {
  readonly name = 'azure';
  readonly #client: AzureClient;
  readonly #options: ParsedOptions;
  readonly #signatures: Signatures;
  readonly #rights = new UsedRights();

  constructor(client: AzureClient, options: ParsedOptions) {
    this.#client = client;
    this.#options = options;
    this.#signatures = new Signatures(client, options);
  }

  wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    return this.#rights.wrapping(this.#wrap(key, binding));
  }

  unwrapKey(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    return this.#rights.unwrapping(this.#unwrap(wrapped, binding));
  }

  isAuthenticated({ wrapped }: WrappedKey): boolean {
    return isAuthenticated(parse(wrapped));
  }

  health(): Promise<KmsHealth> {
    return healthOf(async () => {
      const kek = await this.#keyToWrapUnder();
      const { version: kekVersion, createdOn: kekCreatedAt } = kek.properties;
      const unsigned = await this.#whyItMakesNoKeys(kek);
      return {
        ...this.#rights.known,
        ...(unsigned === '' ? {} : { mayWrap: false }),
        ...{ kekVersion, kekCreatedAt },
        detail: `${this.#client.keyId(kekVersion ?? '')}${unsigned}`,
      };
    });
  }

  close(): Promise<void> {
    this.#client.close();
    this.#signatures.forget();
    return Promise.resolve();
  }

  async #wrap(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const { algorithm } = this.#options;
    const kek = await this.#keyToWrapUnder();
    const signer = isPublic(algorithm) ? await this.#signatures.signer(kek) : undefined;
    const { version = '' } = kek.properties;
    const body = await this.#bodyOf(key, version, binding);
    const form = { algorithm, version, body };
    const signature = signer && (await this.#signatures.sign(signer, form, binding));
    const wrapped = serialize({ ...form, signature });
    if (wrapped === undefined) {
      throw new ConfigurationError(`azureKms: the answer is not of ${algorithm}. Check keyId.`);
    }
    return { kek: `azure-kms:${this.#client.keyId(version)}`, wrapped };
  }

  /** Wraps a copy: a call that timed out may still be at work when the caller has wiped the key. */
  async #bodyOf(key: Uint8Array, version: string, binding: KeyBinding): Promise<Uint8Array> {
    const { algorithm } = this.#options;
    const isBound = !isPublic(algorithm);
    const outer = isBound ? newInnerKey() : Uint8Array.from(key);
    const bound = associatedData({ algorithm, version }, binding);
    const sealed = isBound ? sealBound(outer, key, bound) : new Uint8Array();
    const { result } = await this.#client.wrap(version, outer);
    wipe(outer);
    return Buffer.concat([result, sealed]);
  }

  async #unwrap({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const form = parse(wrapped);
    await this.#requireProof(form, binding);
    const { algorithm, version, body } = form;
    const sent = isPublic(algorithm) ? body : body.subarray(0, AES_WRAP_BYTES);
    const { result } = await this.#client.unwrap(version, algorithm, sent);
    const key = unwrappedKey('azureKms', result);
    if (isPublic(algorithm)) return key;
    try {
      return openBound(key, body.subarray(AES_WRAP_BYTES), associatedData(form, binding));
    } finally {
      wipe(key);
    }
  }

  /** Explains why no keys can be made, which does not make it unhealthy: it unwraps. Empty if it can sign. */
  async #whyItMakesNoKeys(kek: KeyVaultKey): Promise<string> {
    try {
      if (isPublic(this.#options.algorithm)) await this.#signatures.signer(kek);
      return '';
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      return `; makes no keys: ${error.message}`;
    }
  }

  /** @throws {@link KeyUnwrapError} for an invalid signature, and for a missing one if it is required */
  async #requireProof(form: WrappedForm, binding: KeyBinding): Promise<void> {
    const { signature } = form;
    if (signature !== undefined) await this.#signatures.requireHolds(signature, form, binding);
    else if (!isAuthenticated(form) && !this.#options.readsUnsigned) {
      throw new KeyUnwrapError(
        "azureKms: the wrapped key is not signed, and unsigned keys are refused. To adopt it, set unsigned: 'read'.",
      );
    }
  }

  /** @throws {@link ConfigurationError} for a key that must not wrap data keys */
  async #keyToWrapUnder(): Promise<KeyVaultKey> {
    const { algorithm, kek } = this.#options;
    const key = await this.#client.describeKey(kek);
    const { keyType = 'unknown', properties } = key;
    const { enabled, exportable } = properties;
    const keyTypes = KEY_WRAPS.find(({ name }) => name === algorithm)?.keyTypes ?? [];
    if (!keyTypes.includes(keyType)) {
      throw new ConfigurationError(
        `azureKms: the key is of type ${keyType}, and ${algorithm} is for ${keyTypes.join(' and ')}. ` +
          'Set algorithm to fit the key.',
      );
    }
    if (enabled === false) {
      throw new ConfigurationError(
        'azureKms: the key is disabled. Run: az keyvault key set-attributes --enabled true',
      );
    }
    if (exportable === true) {
      throw new ConfigurationError(
        'azureKms: the key is exportable, so that it can be taken out of the vault. Make another one.',
      );
    }
    return key;
  }
}
