import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { typeormMajor } from './databases';

const modules = join(__dirname, '..', 'companions', 'node_modules');

/** Why the packages that applications have beside this library cannot be tried here; undefined when they can. */
export const companionsMissing: string | undefined = existsSync(modules)
  ? undefined
  : '"npm run companions" has not installed them';

/** The path of one of them, in the version that supports the TypeORM under test. */
export function companion(name: string): string {
  const ofOldMajor = join(modules, `${name}-0.3`);
  return typeormMajor === 0 && existsSync(ofOldMajor) ? ofOldMajor : join(modules, name);
}
