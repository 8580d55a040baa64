import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';

/** What a program ended with. */
export interface Outcome {
  /** `null` where a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
  /** What it has printed to stdout, then what to stderr. */
  output: string;
}

/** A file of CommonJS to run as a program. */
export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

type Reply = Pick<Outcome, 'stdout' | 'stderr'> & { code: number; isClean: boolean };

/**
 * A process that runs one program after the other, with what is in `node_modules` loaded once: most of
 * what a process of its own would take. For programs that end by themselves, and are no ES modules.
 */
export class ProgramHost {
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
  }

  run(program: Program): Promise<Outcome> {
    const outcome = this.#last.then(() => this.#run(program));
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  dispose(): void {
    this.#child?.kill('SIGKILL');
  }

  #run(program: Program): Promise<Outcome> {
    const child = (this.#child ??= this.#start(program.env));
    return new Promise((resolve) => {
      // By a signal, with what it has printed lost: whoever wants that starts a process by itself.
      const lost = (code: number | null): void => {
        this.#child = undefined;
        resolve({ code, stdout: '', stderr: '', output: '' });
      };
      child.once('exit', lost);
      child.once('message', (reply: Reply) => {
        child.off('exit', lost);
        if (!reply.isClean) this.#child = undefined;
        const { code, stdout, stderr } = reply;
        resolve({ code, stdout, stderr, output: stdout + stderr });
      });
      child.send(program);
    });
  }

  #start(env: NodeJS.ProcessEnv): ChildProcess {
    return fork(join(__dirname, 'run-programs.cjs'), { cwd: this.#folder, env, stdio: 'inherit' });
  }
}
