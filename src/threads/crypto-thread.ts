import { Worker } from 'node:worker_threads';
import type { FieldPolicy } from '../field/field-policy';
import type { DataKey } from '../keys/data-key';
import { secretOf } from '../keys/unwrapped-key';
import { packed, unpacked } from './protocol';
import type { MoveReply, MoveRequest, OpenReply, OpenRequest, SentKey } from './protocol';

/** Ciphertexts of one text column, and the keys that they are under. */
export interface Ciphertexts {
  readonly policy: FieldPolicy;
  readonly keys: readonly DataKey[];
  readonly stored: readonly string[];
}

/** Each value leaves two native objects behind, which are cheap to be rid of only when they are many. */
const YOUNG_GENERATION_MB = 96;

/** Told whether the thread has failed, or was closed. */
type OnEnd = (failed: boolean) => void;

/** A thread that has ended answers nothing. */
type Answer = (reply: unknown) => void;

/**
 * A thread with the data keys of what it is asked for. It only makes things faster: what it cannot do,
 * and all that it is asked for once it has ended, is left to the asker. It keeps no process alive
 * unless something waits for it.
 */
export class CryptoThread {
  readonly #application: string;
  readonly #worker: Worker;
  readonly #sent = new Set<string>();
  /** In the order of the requests, which is that of the replies. */
  readonly #waiting: Answer[] = [];
  #ready = false;
  #closing = false;
  #ended = false;

  /** Answers `undefined` where there are no threads to be had: in a bundle, or without the permission. */
  static start(application: string, onEnd: OnEnd): CryptoThread | undefined {
    try {
      return new CryptoThread(application, onEnd);
    } catch {
      return undefined;
    }
  }

  private constructor(application: string, onEnd: OnEnd) {
    this.#application = application;
    this.#worker = new Worker(require.resolve('./worker'), {
      name: 'field-encryption',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    let failed = false;
    this.#worker.once('message', () => {
      this.#ready = true;
      this.#worker.on('message', (reply: unknown) => {
        this.#answer(reply);
      });
    });
    this.#worker.once('error', () => {
      failed = true;
    });
    this.#worker.once('exit', () => {
      this.#ended = true;
      while (this.#waiting.length > 0) this.#answer(undefined);
      onEnd(failed);
    });
    this.#worker.unref();
  }

  /** How many requests are not answered yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether it has loaded its code, so that an answer will not be long. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Moves ciphertexts to the active key. Empty, or missing, are those that are left to the asker. */
  async move(ciphertexts: Ciphertexts, activeKey: DataKey): Promise<readonly string[]> {
    const { policy, keys, stored } = ciphertexts;
    const request = this.#request({ policy, keys: [activeKey, ...keys], stored });
    const reply = await this.#ask<MoveReply>({
      ...request,
      activeKeyId: activeKey.id,
    });
    const moved = unpacked(reply ?? '');
    activeKey.uses.pending += moved.filter((ciphertext) => ciphertext !== '').length;
    return asManyAs(stored, moved);
  }

  /** Decrypts. `undefined`, or missing, are those that are left to the asker. */
  async open(ciphertexts: Ciphertexts): Promise<OpenReply> {
    const reply = await this.#ask<OpenReply>(this.#request(ciphertexts));
    return asManyAs(ciphertexts.stored, reply ?? []);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#worker.terminate();
  }

  #request({ policy, keys, stored }: Ciphertexts): OpenRequest {
    return {
      application: this.#application,
      policy,
      keys: keys.filter(({ id }) => !this.#sent.has(id)).map(sentKey),
      stored: packed(stored),
    };
  }

  #ask<Reply>(request: MoveRequest | OpenRequest): Promise<Reply | undefined> {
    if (this.#ended) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#worker.postMessage(request);
      for (const { id } of request.keys) this.#sent.add(id);
      this.#waiting.push((reply) => {
        resolve(reply as Reply | undefined);
      });
      // With a database that blocks, nothing else keeps the process from ending meanwhile.
      this.#worker.ref();
    });
  }

  #answer(reply: unknown): void {
    this.#waiting.shift()?.(reply);
    // Whoever closes it waits for its end, even when the last answer comes before that.
    if (this.#waiting.length === 0 && !this.#closing) this.#worker.unref();
  }
}

function sentKey(key: DataKey): SentKey {
  const { id, name, version, suite } = key;
  return { id, name, version, suite, secret: secretOf(key) };
}

/** Nothing is where it should be when a damaged value has the separator in it. */
function asManyAs<T>(stored: readonly string[], replies: readonly T[]): readonly T[] {
  return replies.length === stored.length ? replies : [];
}
