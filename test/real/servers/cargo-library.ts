import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

import type { Server } from './availability';
import { CACHE, run } from './cache';
import { installPythonPackage } from './python-package';

/** A shared library that a crate builds, in one version. */
interface CargoLibrary {
  readonly name: string;
  readonly version: string;
  readonly features: readonly string[];
  readonly library: string;
  /** Folders where packages of the system put it. */
  readonly places: readonly string[];
}

/** What the crates' bindings to C are made with, where the system has no libclang. */
const LIBCLANG = { name: 'libclang', version: '18.1.1' };

/**
 * A library that is there, or is built with cargo: once, in the cache, which takes some minutes.
 * `KRYOPTIC_LIBRARY`, for one of that name, is the path of another build.
 */
export function cargoLibrary(crate: CargoLibrary): Server {
  const { name, version } = crate;
  return { name, version, install: () => found(crate) ?? built(crate) };
}

function found({ name, library, places }: CargoLibrary): string | undefined {
  const given = process.env[`${name.toUpperCase()}_LIBRARY`];
  if (given !== undefined && given !== '') return given;
  return places.map((place) => join(place, library)).find((path) => existsSync(path));
}

function built({ name, version, features, library }: CargoLibrary): string {
  const folder = join(CACHE, `${name}-${version}`);
  const complete = join(folder, library);
  if (existsSync(complete)) return complete;
  rmSync(folder, { recursive: true, force: true });
  const source = fetched(folder, name, version);
  run(
    'cargo',
    ['build', '--release', '--locked', '--no-default-features', '--features', features.join()],
    {
      cwd: source,
      env: { ...process.env, CARGO_TARGET_DIR: join(folder, 'target'), ...clang() },
    },
  );
  cpSync(join(folder, 'target', 'release', library), complete);
  rmSync(join(folder, 'target'), { recursive: true });
  return complete;
}

/** The sources of a crate, in a folder of their own: cargo installs programs, and no libraries. */
function fetched(folder: string, name: string, version: string): string {
  const asking = join(folder, 'asking');
  mkdirSync(join(asking, 'src'), { recursive: true });
  writeFileSync(join(asking, 'src', 'lib.rs'), '');
  writeFileSync(
    join(asking, 'Cargo.toml'),
    `[package]\nname = "asking"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n${name} = "=${version}"\n`,
  );
  const metadata = JSON.parse(
    run('cargo', ['metadata', '--format-version', '1', '--quiet'], { cwd: asking }),
  ) as { packages: { name: string; manifest_path: string }[] };
  const manifest = metadata.packages.find((each) => each.name === name)?.manifest_path;
  if (manifest === undefined) throw new Error(`cargo does not find ${name}`);
  const source = join(folder, 'source');
  cpSync(dirname(manifest), source, { recursive: true });
  return source;
}

/** libclang as PyPI has it brings no headers of a compiler: those are gcc's. */
function clang(): NodeJS.ProcessEnv {
  const headers = `-I${run('gcc', ['-print-file-name=include']).trim()}`;
  const environment = installPythonPackage(LIBCLANG);
  const [path] = run('python3', [
    '-c',
    'import glob, sys; print(glob.glob(sys.argv[1] + "/lib/python*/site-packages/clang/native")[0])',
    environment,
  ]).split('\n');
  return {
    LIBCLANG_PATH: [path ?? '', process.env['LIBCLANG_PATH'] ?? ''].filter(Boolean).join(delimiter),
    OSSL_BINDGEN_CLANG_ARGS: headers,
    BINDGEN_EXTRA_CLANG_ARGS: headers,
  };
}
