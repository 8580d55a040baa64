import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { FieldPolicy } from '../field/field-policy';
import type { DataKey } from '../keys/data-key';
import { secretOf } from '../keys/unwrapped-key';
import { packed, READY, unpacked } from './protocol';
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

/** Told the reply; a thread that has ended answers nothing. */
type Answer = (reply: unknown) => void;

/**
 * A thread with the data keys of what it is asked for. It only makes things faster: what it cannot do,
 * and all that it is asked for once it has ended, is left to the asker. It keeps no process alive
 * unless something waits for it, or it is loading its code: Node.js 20 aborts the process when
 * it ends a thread just when that loads an ES module.
 */
export class CryptoThread {
  readonly #application: string;
  readonly #worker: Worker;
  readonly #replies = new MessageChannel();
  readonly #sent = new Set<string>();
  /** In the order of the requests, which is that of the replies. */
  readonly #waiting: Answer[] = [];
  readonly #loaded: Promise<void>;
  #onLoaded: () => void = () => undefined;
  #ready = false;
  #closing = false;
  #ended = false;

  /** Returns `undefined` where there are no threads to be had: in a bundle, or without the permission. */
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
      workerData: this.#replies.port2,
      transferList: [this.#replies.port2],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.#loaded = new Promise((resolve) => {
      this.#onLoaded = resolve;
    });
    let failed = false;
    this.#replies.port1.on('message', (message: unknown) => {
      this.#accept(message);
    });
    this.#worker.once('error', () => {
      failed = true;
    });
    this.#worker.once('exit', () => {
      this.#ended = true;
      this.#onLoaded();
      this.#replies.port1.close();
      while (this.#waiting.length > 0) this.#answer(undefined);
      onEnd(failed);
    });
    this.#replies.port1.unref();
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
    const reply = await new Promise((resolve) => {
      this.#ask({ ...request, activeKeyId: activeKey.id }, resolve);
    });
    const moved = unpacked((reply as MoveReply | undefined) ?? '');
    activeKey.uses.pending += moved.filter((ciphertext) => ciphertext !== '').length;
    return asManyAs(stored, moved);
  }

  /** Decrypts. `undefined`, or missing, are those that are left to the asker. */
  open(ciphertexts: Ciphertexts, answer: (values: OpenReply) => void): void {
    this.#ask(this.#request(ciphertexts), (reply) => {
      answer(asManyAs(ciphertexts.stored, (reply as OpenReply | undefined) ?? []));
    });
  }

  /** Gives the answers that are there, to those who asked, in the middle of synchronous work. */
  receive(): void {
    const { port1 } = this.#replies;
    for (let next = receiveMessageOnPort(port1); next; next = receiveMessageOnPort(port1)) {
      this.#accept(next.message);
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#loaded;
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

  #ask(request: MoveRequest | OpenRequest, answer: Answer): void {
    if (this.#ended) {
      answer(undefined);
      return;
    }
    this.#worker.postMessage(request);
    for (const { id } of request.keys) this.#sent.add(id);
    this.#waiting.push(answer);
    // With a database that blocks, nothing else keeps the process from ending meanwhile.
    this.#worker.ref();
  }

  #accept(message: unknown): void {
    if (message !== READY) {
      this.#answer(message);
      return;
    }
    this.#ready = true;
    this.#onLoaded();
    this.#unrefWhereIdle();
  }

  #answer(reply: unknown): void {
    this.#waiting.shift()?.(reply);
    this.#unrefWhereIdle();
  }

  /** Not while it is being closed: that waits for its end, even when the last answer comes before. */
  #unrefWhereIdle(): void {
    if (this.#waiting.length === 0 && !this.#closing) this.#worker.unref();
  }
}

function sentKey(key: DataKey): SentKey {
  const { id, name, version, suite, isAuthenticated, aead } = key;
  const { nonces } = aead;
  return { id, name, version, suite, isAuthenticated, nonces, secret: secretOf(key) };
}

/** Nothing is where it should be when a damaged value has the separator in it. */
function asManyAs<T>(stored: readonly string[], replies: readonly T[]): readonly T[] {
  return replies.length === stored.length ? replies : [];
}
