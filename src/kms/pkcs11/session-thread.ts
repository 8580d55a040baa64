import { Worker } from 'node:worker_threads';
import type { Transferable } from 'node:worker_threads';

import { KmsUnavailableError } from '../../errors';

import { keepLoaded } from './cryptoki';
import { toError } from './protocol';
import type { Reply, TokenAnswer, TokenRequest } from './protocol';
import type { TokenSettings } from './token';

/** A thread with one session on the token, which serves one request after the other. */
export interface SessionThread {
  /** Whether the thread has ended, and serves no more requests. */
  readonly ended: boolean;
  run(request: TokenRequest): Promise<TokenAnswer>;
  /** Ends the thread. A `close` request must have closed its session before. */
  stop(): Promise<void>;
}

interface Waiting {
  readonly resolve: (answer: TokenAnswer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A session in a worker thread. PKCS #11 calls block, for seconds if a network HSM is away, which must not
 * happen in the thread pool that serves files and name look-ups.
 */
export class WorkerSessionThread implements SessionThread {
  readonly #library: string;
  readonly #worker: Worker;
  /** In the order of requests, and so of answers. */
  readonly #waiting: Waiting[] = [];
  #ended = false;

  constructor(settings: TokenSettings, execArgv?: string[]) {
    this.#library = settings.library;
    this.#worker = new Worker(require.resolve('./session-worker'), {
      workerData: settings,
      name: 'field-encryption-pkcs11',
      ...(execArgv === undefined ? {} : { execArgv }),
    });
    this.#worker.on('message', (reply: Reply) => {
      this.#settle(reply);
    });
    this.#worker.on('error', (error) => {
      this.#fail(error);
    });
    this.#worker.on('exit', () => {
      this.#fail(undefined);
    });
    this.#worker.unref();
  }

  get ended(): boolean {
    return this.#ended;
  }

  run(request: TokenRequest): Promise<TokenAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new KmsUnavailableError('pkcs11Kms: the thread of the token has ended. Try again.'));
        return;
      }
      if (this.#waiting.push({ resolve, reject }) === 1) this.#worker.ref();
      const { message, transfer } = sendable(request);
      this.#worker.postMessage(message, transfer);
    });
  }

  async stop(): Promise<void> {
    this.#ended = true;
    await this.#worker.terminate();
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.shift();
    // An idle thread must not keep the process alive.
    if (this.#waiting.length === 0) this.#worker.unref();
    // Login and close have no answer; any other answer proves that the module is in use.
    if (reply.ok && reply.answer !== undefined) keepLoaded(this.#library);
    if (reply.ok) waiting?.resolve(reply.answer);
    else waiting?.reject(toError(reply.failure));
  }

  #fail(error: Error | undefined): void {
    this.#ended = true;
    const details = error === undefined ? {} : { cause: error };
    const message = 'pkcs11Kms: the thread of the token ended unexpectedly. Try again.';
    for (const { reject } of this.#waiting.splice(0)) {
      reject(new KmsUnavailableError(message, details));
    }
  }
}

/** Transfers a copy of the key to the thread, which wipes it, so that no copy is left behind. */
function sendable(request: TokenRequest): { message: TokenRequest; transfer: Transferable[] } {
  if (request.kind !== 'wrap') return { message: request, transfer: [] };
  const key = Uint8Array.from(request.key);
  return { message: { ...request, key }, transfer: [key.buffer] };
}
