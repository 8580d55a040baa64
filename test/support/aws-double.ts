import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';

import type { Answer, Call } from './http-double';
import { HttpDouble } from './http-double';

/** A key of the double. */
export interface AwsDoubleKey {
  readonly id: string;
  readonly material: Buffer;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion';
  spec: string;
}

export const SECRET_ACCESS_KEY = 'canary-secret-access-key';

const ID_BYTES = 36;

/**
 * A double of AWS KMS: Encrypt, Decrypt and DescribeKey in its JSON protocol, with its exceptions and
 * real AES-GCM. As the service does, it finds the key of a ciphertext in the ciphertext.
 */
export class AwsDouble {
  readonly http = new HttpDouble((call) => this.#answer(call));
  readonly keys = new Map<string, AwsDoubleKey>();
  readonly aliases = new Map<string, string>();

  get endpoint(): string {
    return `http://127.0.0.1:${String(this.http.port)}`;
  }

  makeKey(): AwsDoubleKey {
    const key: AwsDoubleKey = {
      id: randomUUID(),
      material: randomBytes(32),
      state: 'Enabled',
      spec: 'SYMMETRIC_DEFAULT',
    };
    this.keys.set(key.id, key);
    return key;
  }

  #answer(call: Call): Answer {
    if (!String(call.headers.authorization).startsWith('AWS4-HMAC-SHA256 ')) {
      return exception('MissingAuthenticationTokenException');
    }
    const input = JSON.parse(call.body) as Record<string, unknown>;
    const operation = String(call.headers['x-amz-target']).replace('TrentService.', '');
    const key = this.#find(input['KeyId']);
    if (key === undefined) return exception('NotFoundException');
    if (operation === 'DescribeKey') {
      const KeyMetadata = {
        ...{ KeyId: key.id, Arn: arn(key), KeyState: key.state, KeySpec: key.spec },
        CreationDate: 1_700_000_000,
      };
      return { status: 200, body: { KeyMetadata } };
    }
    if (key.state === 'Disabled') return exception('DisabledException');
    if (key.state === 'PendingDeletion') return exception('KMSInvalidStateException');
    const aad = contextBytes(input['EncryptionContext']);
    return operation === 'Encrypt' ? encrypt(key, input, aad) : this.#decrypt(key, input, aad);
  }

  #find(keyId: unknown): AwsDoubleKey | undefined {
    const name = String(keyId).replace(/^arn:.*:(?:key\/)?/, '');
    return this.keys.get(this.aliases.get(name) ?? name);
  }

  #decrypt(asked: AwsDoubleKey, input: Record<string, unknown>, aad: Buffer): Answer {
    const blob = Buffer.from(String(input['CiphertextBlob']), 'base64');
    const wrapping = this.keys.get(blob.subarray(0, ID_BYTES).toString('latin1'));
    if (wrapping === undefined) {
      // The service calls a key that it does not find a denial, but not one of the caller's rights.
      return exception('AccessDeniedException', 400, 'The ciphertext refers to a key that');
    }
    if (blob.length < ID_BYTES + 28) return exception('InvalidCiphertextException');
    if (wrapping !== asked) return exception('IncorrectKeyException');
    try {
      const nonce = blob.subarray(ID_BYTES, ID_BYTES + 12);
      const decipher = createDecipheriv('aes-256-gcm', wrapping.material, nonce, {
        authTagLength: 16,
      });
      decipher.setAAD(aad);
      decipher.setAuthTag(blob.subarray(-16));
      const key = Buffer.concat([
        decipher.update(blob.subarray(ID_BYTES + 12, -16)),
        decipher.final(),
      ]);
      return { status: 200, body: { KeyId: arn(asked), Plaintext: key.toString('base64') } };
    } catch {
      return exception('InvalidCiphertextException');
    }
  }
}

/** The ARN of a key of the double. */
export function arn({ id }: AwsDoubleKey): string {
  return `arn:aws:kms:eu-west-1:111122223333:key/${id}`;
}

function encrypt(key: AwsDoubleKey, input: Record<string, unknown>, aad: Buffer): Answer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.material, nonce, { authTagLength: 16 });
  cipher.setAAD(aad);
  const sealed = [cipher.update(String(input['Plaintext']), 'base64'), cipher.final()];
  const blob = Buffer.concat([Buffer.from(key.id), nonce, ...sealed, cipher.getAuthTag()]);
  return { status: 200, body: { KeyId: arn(key), CiphertextBlob: blob.toString('base64') } };
}

function contextBytes(context: unknown): Buffer {
  const entries = Object.entries((context ?? {}) as Record<string, string>);
  return Buffer.from(JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** An exception as the service sends it. */
export function exception(
  name: string,
  status = 400,
  message = 'User: clinic is not authorized to perform: as the service puts it',
): Answer {
  return { status, body: { __type: name, message } };
}
