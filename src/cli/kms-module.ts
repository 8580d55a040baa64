import type { KmsProvider } from '../kms/kms-provider';
import { CommandError } from './command-error';
import { loadModule } from './data-source-module';

/**
 * Loads a module and answers the KMS provider that it exports, by default or by name, itself or as a
 * promise: what the provider needs of secrets stays in the module, and off the command line.
 *
 * @throws {@link CommandError} that says what is wrong with the module
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
