import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Options and environment for a process, beside those of this one. */
export interface ChildOptions {
  readonly nodeOptions?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A process that works on one question, with a heap of its own. */
export class Child<A> {
  readonly #process: ChildProcess;
  /** Its answer; rejects if it fails or ends before. */
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
 * Answers the question of a {@link Child}, and waits to be stopped. The module of the child calls it
 * once; whoever starts the child must send a question that `work` takes.
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
