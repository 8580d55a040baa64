import { Worker } from 'node:worker_threads';
import type { FieldPolicy } from '../../field/field-policy';
import type { DataKey } from '../../keys/data-key';
import { secretOf } from '../../keys/unwrapped-key';
import type { MoveReply, MoveRequest } from './protocol';

/** Ciphertexts to move, and the keys that it takes. */
export interface Move {
  readonly policy: FieldPolicy;
  readonly activeKey: DataKey;
  readonly oldKeys: readonly DataKey[];
  readonly stored: readonly string[];
}

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

  /** The new ciphertexts, in order; `undefined` for what is left to the asker. */
  move({ policy, activeKey, oldKeys, stored }: Move): Promise<MoveReply> {
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
      stored,
    };
    for (const { id } of keys) thread.sent.add(id);
    return new Promise((resolve) => {
      thread.waiting.push((reply) => {
        activeKey.uses.pending += reply.filter((moved) => moved !== undefined).length;
        resolve(reply);
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
    const worker = new Worker(require.resolve('./worker'), { name: 'field-encryption-run' });
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
      for (const leave of thread.waiting.splice(0)) leave([]);
    });
    worker.unref();
    this.#threads.push(thread);
    return thread;
  }
}
