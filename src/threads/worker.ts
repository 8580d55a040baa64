import { parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { FieldValue } from '../encoding/value-codec';
import { FieldEncryptionError, KeyNotFoundError } from '../errors';
import { FieldCipher } from '../field/field-cipher';
import type { DataKey } from '../keys/data-key';
import type { KeySource } from '../keys/key-source';
import { receivedKey } from '../keys/unwrapped-key';
import { packed, READY, unpacked } from './protocol';
import type { MoveReply, MoveRequest, OpenReply, OpenRequest } from './protocol';

/** The keys that this thread was sent. */
class SentKeys implements KeySource {
  readonly #byId = new Map<string, DataKey>();
  readonly #byPrefix = new Map<string, DataKey>();
  #activeKeyId = '';

  accept({ keys }: OpenRequest): void {
    for (const sent of keys) {
      const key = receivedKey(sent, sent.secret, sent.nonces);
      this.#byId.set(key.id, key);
      this.#byPrefix.set(key.prefix, key);
    }
  }

  activate(id: string): void {
    this.#activeKeyId = id;
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
/** Of its own, so that the asker can look at it in the middle of synchronous work. */
const replies = workerData as MessagePort;

parentPort?.on('message', (request: MoveRequest | OpenRequest) => {
  keys.accept(request);
  replies.postMessage('activeKeyId' in request ? moved(request) : opened(request));
});

replies.postMessage(READY);

function moved(request: MoveRequest): MoveReply {
  keys.activate(request.activeKeyId);
  const cipher = cipherOf(request);
  const move = (stored: string): string => cipher.sealRaw(cipher.openRaw(stored)) as string;
  return packed(unpacked(request.stored).map((stored) => attempt(move, stored) ?? ''));
}

function opened(request: OpenRequest): OpenReply {
  const cipher = cipherOf(request);
  const open = (stored: string): FieldValue => cipher.decrypt(stored);
  return unpacked(request.stored).map((stored) => attempt(open, stored));
}

function cipherOf({ policy, application }: OpenRequest): FieldCipher {
  const known = ciphers.get(policy.fieldId);
  if (known !== undefined) return known;
  const cipher = new FieldCipher(policy, application, keys);
  ciphers.set(policy.fieldId, cipher);
  return cipher;
}

/** What fails is the asker's to find out about, who can say which row it is. */
function attempt<T>(work: (stored: string) => T, stored: string): T | undefined {
  try {
    return work(stored);
  } catch (error) {
    if (error instanceof FieldEncryptionError) return undefined;
    throw error;
  }
}

function required(key: DataKey | undefined): DataKey {
  if (key === undefined) throw new KeyNotFoundError('The thread was not sent this key.');
  return key;
}
