import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';
import { ConfigurationError } from '../../errors';
import { parseOpaque, serializeOpaque, unwrappedKey } from '../key-bytes';
import type { KeyBinding, KmsHealth, KmsProvider, WrappedKey } from '../kms-provider';
import { TransientFailure } from '../remote/failures';
import { foundIfAllowed, healthOf, UsedRights } from '../remote/health';

import { crc32c } from './gcp-client';
import type { GcpClient } from './gcp-client';

/** A provider that wraps and unwraps through Google Cloud KMS. */
export class GcpKmsProvider implements KmsProvider {
  readonly name = 'gcp';
  readonly #client: GcpClient;
  readonly #keyName: string;
  readonly #rights = new UsedRights();

  constructor(client: GcpClient, keyName: string) {
    this.#client = client;
    this.#keyName = keyName;
  }

  async wrapKey(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const plaintext = Uint8Array.from(key);
    const encrypting = this.#client.call('encrypt', async (client, settings) => {
      const request = {
        ...this.#request(binding),
        plaintext,
        plaintextCrc32c: checksum(plaintext),
      };
      const [answer] = await client.encrypt(request, settings);
      requireIntact(
        answer.verifiedPlaintextCrc32c === true &&
          answer.verifiedAdditionalAuthenticatedDataCrc32c === true,
      );
      return {
        name: answer.name ?? '',
        ciphertext: verified(answer.ciphertext, answer.ciphertextCrc32c),
      };
    });
    const { name, ciphertext } = await this.#rights.wrapping(encrypting);
    // Names the version that wrapped, for people: decryption finds it in the ciphertext.
    if (!name.startsWith(`${this.#keyName}/cryptoKeyVersions/`) || name.length > 500) {
      throw new ConfigurationError(
        'gcpKms: another key than keyName answered. Check the endpoint.',
      );
    }
    return { kek: `gcp-kms:${name}`, wrapped: serializeOpaque(ciphertext) };
  }

  async unwrapKey({ wrapped }: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const ciphertext = parseOpaque('gcpKms', wrapped);
    const decrypting = this.#client.call('decrypt', async (client, settings) => {
      const request = {
        ...this.#request(binding),
        ciphertext,
        ciphertextCrc32c: checksum(ciphertext),
      };
      const [answer] = await client.decrypt(request, settings);
      return unwrappedKey('gcpKms', verified(answer.plaintext, answer.plaintextCrc32c));
    });
    return this.#rights.unwrapping(decrypting);
  }

  health(): Promise<KmsHealth> {
    return healthOf(async () => ({
      ...this.#rights.known,
      ...(await foundIfAllowed(() => this.#describe(), 'cloudkms.cryptoKeys.get')),
    }));
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  /** Describes the key. Without an enabled primary version it cannot wrap, but older ones may unwrap. */
  #describe(): Promise<Partial<KmsHealth>> {
    return this.#client.call('describe', async (client, settings) => {
      const [{ purpose, primary }] = await client.getCryptoKey({ name: this.#keyName }, settings);
      const kekVersion = primary?.name?.split('/').at(-1);
      const seconds = Number(primary?.createTime?.seconds ?? NaN);
      const kekCreatedAt = Number.isNaN(seconds) ? undefined : new Date(seconds * 1000);
      const detail = `${this.#keyName}, version ${kekVersion ?? 'unknown'}`;
      if (purpose === 'ENCRYPT_DECRYPT' && primary?.state === 'ENABLED') {
        return { detail, kekVersion, kekCreatedAt };
      }
      const wanted = `gcpKms: ${this.#keyName} is no key for ENCRYPT_DECRYPT with an enabled primary version.`;
      return { ok: false, detail: wanted, mayWrap: false, kekVersion, kekCreatedAt };
    });
  }

  #request(binding: KeyBinding): {
    name: string;
    additionalAuthenticatedData: Uint8Array;
    additionalAuthenticatedDataCrc32c: Checksum;
  } {
    const { application, keyId, keyName, purpose } = binding;
    const data = lengthPrefixed([LABELS.gcpWrap, application, keyId, keyName, purpose]);
    return {
      name: this.#keyName,
      additionalAuthenticatedData: data,
      additionalAuthenticatedDataCrc32c: checksum(data),
    };
  }
}

interface Checksum {
  readonly value: number;
}

function checksum(bytes: Uint8Array): Checksum {
  return { value: crc32c(bytes) };
}

/** Returns the bytes of an answer if their checksum is right. */
function verified(
  bytes: Uint8Array | string | null | undefined,
  sent: { value?: unknown } | null | undefined,
): Uint8Array {
  const isThere = typeof bytes === 'object' && bytes !== null && bytes.length > 0;
  // An int64 in the protocol, which the SDK returns as a number, a string or an object.
  requireIntact(isThere && String(sent?.value) === String(crc32c(bytes)));
  return bytes;
}

function requireIntact(holds: boolean): asserts holds {
  if (!holds) throw new TransientFailure('the checksum of a request or an answer does not fit');
}
