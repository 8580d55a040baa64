import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** What is read of a package's manifest. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly peerDependencies: Readonly<Record<string, string>>;
}

const require_ = createRequire(__filename);

/** The manifest of this package. */
export function ownManifest(): Manifest {
  const manifest = manifestAbove(__dirname);
  if (manifest === undefined) throw new Error('the package has lost its package.json');
  return manifest;
}

/** The manifest of an installed package; `undefined` where it is not installed. */
export function manifestOf(name: string): Manifest | undefined {
  try {
    return manifestAbove(dirname(require_.resolve(name)));
  } catch {
    return undefined;
  }
}

/** Files of all modules that the process has loaded by `require`. */
export function loadedFiles(): string[] {
  return Object.keys(require_.cache);
}

/** The nearest that names a version: what lies beside the code of some packages does not. */
function manifestAbove(folder: string): Manifest | undefined {
  const path = join(folder, 'package.json');
  if (existsSync(path)) {
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
    if (typeof (manifest.version as unknown) === 'string') return manifest;
  }
  const parent = dirname(folder);
  return parent === folder ? undefined : manifestAbove(parent);
}
