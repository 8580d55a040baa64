import { Worker } from 'node:worker_threads';
import type { FieldPolicy } from '../../field/field-policy';
import type { DataKey } from '../../keys/data-key';
import { secretOf } from '../../keys/unwrapped-key';
import { packed, unpacked } from './protocol';
import type { MoveReply, MoveRequest } from './protocol';

/** Ciphertexts to move, and the keys that it takes. */
export interface Move {
  readonly policy: FieldPolicy;
  readonly activeKey: DataKey;
  readonly oldKeys: readonly DataKey[];
  readonly stored: readonly string[];
}

/** Each value leaves two native objects behind, which are cheap to be rid of only when they are many. */
const YOUNG_GENERATION_MB = 96;

interface Thread {
  readonly worker: Worker;
  readonly sent: Set<string>;
  /** In the order of the requests, which is that of the replies. */
  readonly waiting: ((reply: MoveReply) => void)[];
}

/**
 * Threads that move ciphertexts to the active key, while this one talks to the database. They only
 * make a run faster: what a thread cannot do, or a thread that fails, is left to the asker.
 */
export class CryptoThreads {
  readonly #application: string;
  readonly count: number;
  #notYet: number;
  #threads: Thread[] = [];
  #failed = false;

  /** @param after - values that are left to the asker before a thread is started. */
  constructor(count: number, after: number, application: string) {
    this.count = count;
    this.#notYet = after;
    this.#application = application;
  }

  /** Tells how many values are to come, so that threads which will pay are started at once. */
  expect(values: number): void {
    this.#notYet -= values;
  }

  /** The new ciphertexts, in order; empty, or missing, for what is left to the asker. */
  move({ policy, activeKey, oldKeys, stored }: Move): Promise<readonly string[]> {
    this.#notYet -= stored.length;
    const thread = this.#notYet > 0 ? undefined : this.#next();
    if (thread === undefined) return Promise.resolve([]);
    const keys = [activeKey, ...oldKeys].filter(({ id }) => !thread.sent.has(id));
    const request: MoveRequest = {
      application: this.#application,
      policy,
      activeKeyId: activeKey.id,
      keys: keys.map((key) => {
        const { id, name, version, suite } = key;
        return { id, name, version, suite, secret: secretOf(key) };
      }),
      stored: packed(stored),
    };
    for (const { id } of keys) thread.sent.add(id);
    return new Promise((resolve) => {
      thread.waiting.push((reply) => {
        const moved = unpacked(reply);
        activeKey.uses.pending += moved.filter((ciphertext) => ciphertext !== '').length;
        // Nothing is where it should be when a damaged value has the separator in it.
        resolve(moved.length === stored.length ? moved : []);
      });
      // With a database that blocks, nothing else keeps the process from ending meanwhile.
      thread.worker.ref();
      thread.worker.postMessage(request);
    });
  }

  async close(): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }

  /** The thread with the least to do; a new one while there are too few. */
  #next(): Thread | undefined {
    if (this.#failed || this.count === 0) return undefined;
    const [idlest] = this.#threads.sort((a, b) => a.waiting.length - b.waiting.length);
    if (idlest?.waiting.length === 0 || this.#threads.length >= this.count) return idlest;
    return this.#start();
  }

  #start(): Thread {
    const worker = new Worker(require.resolve('./worker'), {
      name: 'field-encryption-run',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    const thread: Thread = { worker, sent: new Set(), waiting: [] };
    worker.on('message', (reply: MoveReply) => {
      thread.waiting.shift()?.(reply);
      if (thread.waiting.length === 0) worker.unref();
    });
    worker.on('error', () => {
      this.#failed = true;
    });
    worker.on('exit', () => {
      this.#threads = this.#threads.filter((each) => each !== thread);
      for (const leave of thread.waiting.splice(0)) leave('');
    });
    worker.unref();
    this.#threads.push(thread);
    return thread;
  }
}
