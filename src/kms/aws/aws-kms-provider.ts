import { LABELS } from '../../crypto/labels';
import { ConfigurationError, KeyUnwrapError } from '../../errors';
import { parseOpaque, serializeOpaque, unwrappedKey } from '../key-bytes';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { foundIfAllowed, healthOf, UsedRights } from '../remote/health';

import type { AwsClient } from './aws-client';

const KEK_PREFIX = 'aws-kms:';

/** A provider that wraps and unwraps through AWS KMS. */
export class AwsKmsProvider implements KmsProvider {
  readonly name = 'aws';
  readonly #client: AwsClient;
  readonly #keyId: string;
  readonly #rights = new UsedRights();

  constructor(client: AwsClient, keyId: string) {
    this.#client = client;
    this.#keyId = keyId;
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const { CiphertextBlob: ciphertext, KeyId: arn } = await this.#rights.wrapping(
      this.#client.encrypt({
        KeyId: this.#keyId,
        // A copy: the SDK may hold on to it.
        Plaintext: Uint8Array.from(key),
        EncryptionContext: encryptionContext(binding),
      }),
    );
    if (ciphertext === undefined || ciphertext.length === 0 || arn === undefined) {
      throw new ConfigurationError('awsKms: the answer is not that of AWS KMS. Check endpoint.');
    }
    const configured = keyIdIn(this.#keyId);
    if (configured !== undefined && keyIdIn(arn) !== configured) {
      throw new ConfigurationError('awsKms: another key than keyId answered. Check endpoint.');
    }
    return { kek: `${KEK_PREFIX}${arn}`, wrapped: serializeOpaque(ciphertext) };
  }

  async unwrapKey({ kek, wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const { Plaintext: plaintext, KeyId: arn = '' } = await this.#rights.unwrapping(
      this.#client.decrypt({
        // Without it, KMS decrypts under whatever key the ciphertext names.
        KeyId: this.#keyId,
        CiphertextBlob: parseOpaque('awsKms', wrapped),
        EncryptionContext: encryptionContext(binding),
      }),
    );
    const key = unwrappedKey('awsKms', plaintext);
    // An alias does not tell the key; then it must be the one that wrapped.
    const expected = keyIdIn(this.#keyId) ?? keyIdIn(kek.slice(KEK_PREFIX.length));
    if (expected !== undefined && keyIdIn(arn) === expected) return key;
    key.fill(0);
    throw new KeyUnwrapError('awsKms: another key answered than the one that was asked.');
  }

  health(): Promise<KmsHealth> {
    return healthOf(async () => ({
      ...this.#rights.known,
      ...(await foundIfAllowed(() => this.#describe(), 'kms:DescribeKey')),
    }));
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  async #describe(): Promise<Partial<KmsHealth>> {
    const { KeyMetadata: key } = await this.#client.describeKey({ KeyId: this.#keyId });
    const { KeyState: state, KeySpec: spec } = key ?? {};
    const described = {
      detail: `${this.#keyId}, enabled`,
      kekVersion: key?.CurrentKeyMaterialId,
      kekCreatedAt: key?.CreationDate,
    };
    if (state === 'Enabled' && spec === 'SYMMETRIC_DEFAULT') return described;
    const detail =
      `awsKms: ${this.#keyId} is ${state ?? 'unknown'} and ${spec ?? 'unknown'}, ` +
      'want an enabled SYMMETRIC_DEFAULT key.';
    return { ...described, detail, ok: false, mayWrap: false, mayUnwrap: false };
  }
}

function encryptionContext(binding: KeyBinding): Record<string, string> {
  return {
    library: LABELS.awsWrap,
    application: binding.application,
    'key-id': binding.keyId,
    'key-name': binding.keyName,
    purpose: binding.purpose,
  };
}

/**
 * Returns the id in an ARN or by itself; undefined for an alias. Replicas of a multi-Region key have the
 * same id and key material, and differ in the rest of the ARN.
 */
function keyIdIn(text: string): string | undefined {
  const [, id] = /^(?:arn:[\w:-]+:key\/)?([\w-]+)$/.exec(text) ?? [];
  return id;
}
