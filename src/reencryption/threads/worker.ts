import { parentPort } from 'node:worker_threads';
import { FieldEncryptionError, KeyNotFoundError } from '../../errors';
import { FieldCipher } from '../../field/field-cipher';
import type { DataKey } from '../../keys/data-key';
import type { KeySource } from '../../keys/key-source';
import { receivedKey } from '../../keys/unwrapped-key';
import { packed, unpacked } from './protocol';
import type { MoveReply, MoveRequest } from './protocol';

/** The keys that this thread was sent. */
class SentKeys implements KeySource {
  readonly #byId = new Map<string, DataKey>();
  readonly #byPrefix = new Map<string, DataKey>();
  #activeKeyId = '';

  accept({ keys, activeKeyId }: MoveRequest): void {
    this.#activeKeyId = activeKeyId;
    for (const sent of keys) {
      const key = receivedKey(sent, sent.secret);
      this.#byId.set(key.id, key);
      this.#byPrefix.set(key.prefix, key);
    }
  }

  activeKey(): DataKey {
    return required(this.#byId.get(this.#activeKeyId));
  }

  keyByPrefix(prefix: string): DataKey {
    return required(this.#byPrefix.get(prefix));
  }

  indexRoots(): never {
    throw new KeyNotFoundError('A thread has no index root.');
  }
}

const keys = new SentKeys();
const ciphers = new Map<string, FieldCipher>();

parentPort?.on('message', (request: MoveRequest) => {
  keys.accept(request);
  const cipher = cipherOf(request);
  const reply: MoveReply = packed(unpacked(request.stored).map((stored) => moved(cipher, stored)));
  parentPort?.postMessage(reply);
});

function cipherOf({ policy, application }: MoveRequest): FieldCipher {
  const known = ciphers.get(policy.fieldId);
  if (known !== undefined) return known;
  const cipher = new FieldCipher(policy, application, keys);
  ciphers.set(policy.fieldId, cipher);
  return cipher;
}

function moved(cipher: FieldCipher, stored: string): string {
  try {
    return cipher.sealRaw(cipher.openRaw(stored)) as string;
  } catch (error) {
    if (error instanceof FieldEncryptionError) return '';
    throw error;
  }
}

function required(key: DataKey | undefined): DataKey {
  if (key === undefined) throw new KeyNotFoundError('The thread was not sent this key.');
  return key;
}
