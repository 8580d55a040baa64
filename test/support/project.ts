import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { builtPackage } from './built-package';
import { fastProgramFolder } from './fast-folder';
import { ProgramHost } from './program-host';
import type { Outcome } from './program-host';

export type { Outcome } from './program-host';

const root = join(__dirname, '..', '..');
const modules = join(root, 'node_modules');
/** The file behind `field-encryption`. */
const COMMAND = 'node_modules/typeorm-field-encryption/dist/src/cli/main.js';

/** A user's project in a temporary folder: this package and all others installed, one TypeORM. */
export interface Project {
  folder: string;
  write(file: string, content: string): string;
  /**
   * Runs `field-encryption`, or `node` with a file, to its end, in the process that all of them share.
   * Anything else, and what is about a process, such as its workers, gets one of its own by `spawn`.
   */
  run(command: string, args: readonly string[], env?: Record<string, string>): Promise<Outcome>;
  spawn(command: string, args: readonly string[], env?: Record<string, string>): Promise<Outcome>;
  start(
    command: string,
    args: readonly string[],
    env?: Record<string, string>,
  ): ChildProcessWithoutNullStreams;
  dispose(): void;
}

/** Makes a project that has the built package and TypeORM 0.3 or 1. */
export function createProject(typeormMajor: 0 | 1): Project {
  // The real path: Node.js resolves what modules import from there.
  const folder = realpathSync(mkdtempSync(join(fastProgramFolder(), 'field-encryption-project-')));
  install(folder, typeormMajor);
  const start: Project['start'] = (command, args, env = {}) =>
    spawn(command, args, { cwd: folder, env: environment(folder, env) });
  const host = new ProgramHost(folder);
  const spawned: Project['spawn'] = (command, args, env) => outcomeOf(start(command, args, env));
  return {
    folder,
    start,
    spawn: spawned,
    write: (file, content) => {
      const path = join(folder, file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      return path;
    },
    run: (command, args, env = {}) => {
      const program = programOf(folder, command, args);
      if (program === undefined || env.NODE_OPTIONS !== undefined)
        return spawned(command, args, env);
      return host.run({ ...program, env: environment(folder, env) });
    },
    dispose: () => {
      host.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the shared process would run for a command; `undefined` for one that it cannot. */
function programOf(
  folder: string,
  command: string,
  args: readonly string[],
): { file: string; args: readonly string[] } | undefined {
  if (command === 'field-encryption') return { file: join(folder, COMMAND), args };
  const [file = '', ...rest] = args;
  if (command !== 'node' || !/^[^-].*\.js$/.test(file)) return undefined;
  return { file: join(folder, file), args: rest };
}

/** Waits for the end of a process. */
export function outcomeOf(child: ChildProcessWithoutNullStreams): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += String(data)));
  child.stderr.on('data', (data) => (stderr += String(data)));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout, stderr, output: stdout + stderr });
    });
  });
}

function environment(folder: string, env: Record<string, string>): NodeJS.ProcessEnv {
  const path = [join(folder, 'node_modules', '.bin'), process.env.PATH].join(delimiter);
  return { ...process.env, NODE_OPTIONS: '', PATH: path, ...env };
}

/** Links what is installed here, and copies the package, so that it finds the project's TypeORM. */
function install(folder: string, typeormMajor: 0 | 1): void {
  const own = join(folder, 'node_modules');
  mkdirSync(join(own, '.bin'), { recursive: true });
  for (const name of readdirSync(modules)) {
    if (name.startsWith('.') || name.startsWith('typeorm')) continue;
    symlinkSync(join(modules, name), join(own, name));
  }
  symlinkSync(join(modules, typeormMajor === 0 ? 'typeorm-0.3' : 'typeorm'), join(own, 'typeorm'));
  cpSync(builtPackage(), join(own, 'typeorm-field-encryption'), { recursive: true });
  link(own, 'field-encryption', '../typeorm-field-encryption/dist/src/cli/main.js');
  link(own, 'typeorm', '../typeorm/cli.js');
  link(own, 'tsc', '../typescript/bin/tsc');
  link(own, 'jest', '../jest/bin/jest.js');
  writeFileSync(join(folder, 'package.json'), '{ "name": "project", "private": true }');
}

function link(own: string, command: string, target: string): void {
  symlinkSync(target, join(own, '.bin', command));
}
