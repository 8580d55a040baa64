import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** What a process is started with beside what this one was. */
export interface ChildOptions {
  readonly nodeOptions?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A process that works on one question, on a heap of its own. */
export class Child<A> {
  readonly #process: ChildProcess;
  /** What it answers; rejects when it fails or ends before. */
  readonly answer: Promise<A>;

  /** Starts a compiled module that calls {@link answer}. */
  constructor(module: string, question: object, { nodeOptions = [], env = {} }: ChildOptions = {}) {
    this.#process = fork(module, {
      execArgv: ['--expose-gc', ...nodeOptions],
      env: { ...process.env, ...env },
    });
    this.#process.send(question);
    this.answer = new Promise((resolve, reject) => {
      this.#process.once('message', (message) => {
        resolve(message as A);
      });
      this.#process.once('exit', (code) => {
        reject(new Error(`${module} ended with code ${String(code)}`));
      });
    });
  }

  /** Ends it, whatever it is doing. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    this.#process.disconnect();
    await once(this.#process, 'exit');
  }
}

/** Starts a process for one question and ends it with the answer. */
export async function askChild<A>(
  module: string,
  question: object,
  options?: ChildOptions,
): Promise<A> {
  const child = new Child<A>(module, question, options);
  try {
    return await child.answer;
  } finally {
    await child.stop();
  }
}

/**
 * Called by the module of a {@link Child}, once: answers the question, and lives until it is
 * stopped. That the question is what `work` takes is the word of whoever starts the child.
 */
export function answer(work: (question: never) => Promise<unknown>): void {
  process.once('disconnect', () => process.exit());
  process.once('message', (question) => {
    work(question as never).then(
      (result) => process.send?.(result),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}
