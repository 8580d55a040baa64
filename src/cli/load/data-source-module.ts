import type { DataSource } from 'typeorm';

import type { KmsProvider } from '../../kms/kms-provider';
import { isInstalled } from '../../typeorm/installation/installations';
import { CommandError, EXIT_CODES } from '../terminal/command-error';

import { loadModule } from './load-module';

const EXAMPLE =
  'export const dataSource = withFieldEncryption(new DataSource({ ... }), { kms: ... })';

/**
 * Loads a module and returns the DataSource that it exports, by default or by name, itself or as a
 * promise.
 *
 * @throws {@link CommandError} with what is wrong with the module
 */
export async function loadDataSource(path: string): Promise<DataSource> {
  const exported = await dataSourcesOf(await loadModule(path, 'your DataSource'));
  return theOne(exported, path);
}

/** Finds every DataSource among the exports, each once, by its first name. */
async function dataSourcesOf(module: unknown): Promise<Map<DataSource, string>> {
  const found = new Map<DataSource, string>();
  for (const [name, value] of exportsOf(module)) {
    const exported: unknown = await value;
    if (isDataSource(exported) && !found.has(exported)) found.set(exported, name);
  }
  return found;
}

function exportsOf(module: unknown, depth = 0): [string, unknown][] {
  if (typeof module !== 'object' || module === null || isDataSource(module)) {
    return [['module.exports', module]];
  }
  return Object.entries(module).flatMap(([name, value]: [string, unknown]) =>
    // An imported CommonJS module has its exports, or its `default`, below `default`.
    name === 'default' && depth < 2 && isPlainExports(value)
      ? exportsOf(value, depth + 1)
      : [[name, value]],
  );
}

function isPlainExports(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    !isDataSource(value) &&
    !(value instanceof Promise)
  );
}

/** By shape: the application may have another copy of TypeORM than this command. */
function isDataSource(value: unknown): value is DataSource {
  const { initialize, options, isInitialized } = (value ?? {}) as Partial<DataSource>;
  return (
    typeof initialize === 'function' &&
    typeof options === 'object' &&
    typeof isInitialized === 'boolean'
  );
}

function theOne(exported: ReadonlyMap<DataSource, string>, path: string): DataSource {
  const wrapped = [...exported].filter(([dataSource]) => isInstalled(dataSource));
  const [only] = wrapped;
  if (only !== undefined && wrapped.length === 1) return only[0];
  if (exported.size === 0) {
    throw new CommandError(
      'ERR_DATA_SOURCE',
      `${path} exports no DataSource.`,
      `Export one: ${EXAMPLE}`,
    );
  }
  if (wrapped.length > 1) {
    const names = wrapped.map(([, name]) => name).join(', ');
    throw new CommandError(
      'ERR_DATA_SOURCE',
      `${path} exports several DataSources with field encryption: ${names}.`,
      'Export each from a module of its own, and give -d the one you mean.',
    );
  }
  throw new CommandError(
    'ERR_DATA_SOURCE',
    `The DataSource that ${path} exports (${[...exported.values()].join(', ')}) did not go through withFieldEncryption.`,
    `Export it wrapped: ${EXAMPLE}. If it is, run the command that is installed in the same project ` +
      '(npx field-encryption): another copy of the package does not know it.',
    { exitCode: EXIT_CODES.failed },
  );
}

/**
 * Loads a module and returns the KMS provider that it exports, by default or by name, itself or as a
 * promise. The provider's secrets stay in the module, and off the command line.
 *
 * @throws {@link CommandError} with what is wrong with the module
 */
export async function loadKms(path: string): Promise<KmsProvider> {
  const exported = new Set(await providersOf(await loadModule(path, 'your KMS provider')));
  const [only] = exported;
  if (only !== undefined && exported.size === 1) return only;
  throw new CommandError(
    'ERR_USAGE',
    `${path} exports ${exported.size === 0 ? 'no KMS provider' : 'several KMS providers'}.`,
    "Export one: export const kms = localKms({ keyFile: '...' })",
  );
}

async function providersOf(module: unknown): Promise<KmsProvider[]> {
  const candidates = [module, ...valuesOf(module), ...valuesOf(module).flatMap(valuesOf)];
  const settled: unknown[] = await Promise.all(candidates);
  return settled.filter(isProvider);
}

function valuesOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null && !isProvider(value)
    ? Object.values(value)
    : [];
}

/** By shape: the module may have another copy of this package. */
function isProvider(value: unknown): value is KmsProvider {
  const { name, wrapKey, unwrapKey } = (value ?? {}) as Partial<KmsProvider>;
  return (
    typeof name === 'string' && typeof wrapKey === 'function' && typeof unwrapKey === 'function'
  );
}
