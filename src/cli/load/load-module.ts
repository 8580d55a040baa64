import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { CommandError } from '../terminal/command-error';

/**
 * Loads a module that the command line or the configuration names.
 *
 * @param holds - what it exports, for the message.
 * @throws {@link CommandError} if there is no such module, or Node.js cannot load its TypeScript
 */
export async function loadModule(path: string, holds: string): Promise<unknown> {
  const file = resolve(path);
  if (existsSync(file) && statSync(file).isFile()) return load(file, path);
  throw new CommandError(
    'ERR_USAGE',
    `There is no module ${path}.`,
    `Give the path of the built module that exports ${holds}, such as ./dist/data-source.js.`,
  );
}

async function load(file: string, path: string): Promise<unknown> {
  try {
    return await importOrRequire(file);
  } catch (error) {
    if (!isTypeScript(file)) throw error;
    if (lacksMetadata(error)) throw loaderRefused(path, NO_METADATA, error);
    if (needsLoader(error)) throw loaderRefused(path, NO_LOADER, error);
    throw error;
  }
}

/** Tries `require` first, for loaders that only know CommonJS. */
async function importOrRequire(file: string): Promise<unknown> {
  const isModule = ['.mjs', '.mts'].includes(extname(file));
  if (!isModule) {
    try {
      return createRequire(file)(file) as unknown;
    } catch (error) {
      if (!isEsModuleError(error)) throw error;
    }
  }
  return (await import(pathToFileURL(file).href)) as unknown;
}

function isEsModuleError(error: unknown): boolean {
  return ['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'].includes(codeOf(error));
}

function isTypeScript(file: string): boolean {
  return ['.ts', '.cts', '.mts'].includes(extname(file));
}

const NO_LOADER = 'Node.js cannot load the TypeScript of';
const NO_METADATA = 'The loader in use emits no decorator metadata, which TypeORM needs for';

/** Whether Node.js alone fails on the syntax of TypeScript, or on imports without an extension. */
function needsLoader(error: unknown): boolean {
  const code = codeOf(error);
  if (error instanceof SyntaxError) return true;
  if (['ERR_UNKNOWN_FILE_EXTENSION', 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX'].includes(code)) {
    return true;
  }
  const isMissing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(code);
  // A package that is not installed is missing with a loader, too.
  return isMissing && /^Cannot find module '[./]/.test((error as Error).message);
}

/** By name: the application may have another copy of TypeORM. */
function lacksMetadata(error: unknown): boolean {
  return error instanceof Error && error.name === 'ColumnTypeUndefinedError';
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code);
}

function loaderRefused(path: string, problem: string, cause: unknown): CommandError {
  return new CommandError(
    'ERR_DATA_SOURCE',
    `${problem} ${path}.`,
    'Give the built .js file. Or put a loader before the command: ' +
      "NODE_OPTIONS='--import tsx' where every column names its type, or " +
      "NODE_OPTIONS='--require ts-node/register' (TypeScript up to 6).",
    { cause },
  );
}
