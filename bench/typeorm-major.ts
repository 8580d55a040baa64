import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

export type Major = 0 | 1;

/** The folder that the benchmarks are compiled into. */
const BUILD = dirname(__dirname);

/**
 * Returns the folder of the compiled benchmarks for a major version of TypeORM. For 0.3 that is a copy
 * whose node_modules has TypeORM 0.3 under the name `typeorm`.
 */
export function buildFor(major: Major): string {
  if (major === 1) return BUILD;
  const copy = join(BUILD, 'typeorm-0.3');
  rmSync(copy, { recursive: true, force: true });
  for (const folder of ['src', 'migrations', 'bench', 'test']) {
    cpSync(join(BUILD, folder), join(copy, folder), { recursive: true });
  }
  mkdirSync(join(copy, 'node_modules'));
  symlinkSync(dirname(require.resolve('typeorm-0.3')), join(copy, 'node_modules', 'typeorm'));
  return copy;
}
