import { randomFillSync } from 'node:crypto';
import { createRequire } from 'node:module';

import { ConfigurationError } from '../errors';

import type { AddOn, NativeFunctions } from './native';

/** What makes ciphertexts of the AES suites and tokens: an add-on in C, or JavaScript over node:crypto. */
export type Backend = 'native' | 'javascript';

/** What was chosen, and why. */
export interface BackendChoice {
  readonly backend: Backend;
  /** The add-on, where that is the backend. */
  readonly native: NativeFunctions | undefined;
  /** Why it is not the backend: that it is not there, is turned off, or the error that it gave. */
  readonly absence: 'not installed' | 'turned off' | Error | undefined;
}

const PACKAGE = 'typeorm-field-encryption-native';
/** The only version that is used: the two share functions that are nobody else's. */
export const ADD_ON_VERSION = '0.1.0';
/** What the add-on asks for at once. */
const RANDOM_BYTES = 16 * 1024;

let chosen: BackendChoice | undefined;

/**
 * The backend of this thread, chosen when it is first asked for.
 *
 * @throws {@link ConfigurationError} when `FIELD_ENCRYPTION_NATIVE` asks for what cannot be had
 */
export function backendChoice(): BackendChoice {
  return (chosen ??= chooseBackend(process.env['FIELD_ENCRYPTION_NATIVE'], requireAddOn));
}

/**
 * Chooses the backend: the add-on where it is installed and can be used. `'0'` turns it off, and with
 * `'1'` nothing else will do.
 *
 * @param load - gives the add-on, or `undefined` where it is not installed
 */
export function chooseBackend(
  setting: string | undefined,
  load: () => AddOn | undefined,
): BackendChoice {
  if (!['', '0', '1'].includes(setting ?? '')) {
    throw new ConfigurationError(
      'The environment variable FIELD_ENCRYPTION_NATIVE is neither 0 nor 1. Correct it, or leave it out.',
    );
  }
  const choice = setting === '0' ? without('turned off') : tryAddOn(load);
  if (setting !== '1' || choice.backend === 'native') return choice;
  throw new ConfigurationError(
    `FIELD_ENCRYPTION_NATIVE is 1, and the add-on ${PACKAGE} cannot be used: ${reasonOf(choice)} ` +
      'Install it, or leave the variable out to use JavaScript.',
    choice.absence instanceof Error ? { cause: choice.absence } : {},
  );
}

/** Why the add-on is not the backend, in a sentence. */
export function reasonOf({ absence }: BackendChoice): string {
  return absence instanceof Error ? absence.message : `it is ${absence ?? 'in use'}.`;
}

function tryAddOn(load: () => AddOn | undefined): BackendChoice {
  try {
    const addOn = load();
    if (addOn === undefined) return without('not installed');
    requireVersion(addOn);
    const native = addOn.start(() => randomFillSync(Buffer.allocUnsafeSlow(RANDOM_BYTES)));
    return { backend: 'native', native, absence: undefined };
  } catch (error) {
    return without(error instanceof Error ? error : new Error(String(error)));
  }
}

function without(absence: Exclude<BackendChoice['absence'], undefined>): BackendChoice {
  return { backend: 'javascript', native: undefined, absence };
}

function requireVersion({ version }: AddOn): void {
  if (version === ADD_ON_VERSION) return;
  throw new Error(
    `${PACKAGE} is of version ${version}, this library works with ${ADD_ON_VERSION}. ` +
      `Install ${PACKAGE}@${ADD_ON_VERSION}.`,
  );
}

function requireAddOn(): AddOn | undefined {
  const require_ = createRequire(__filename);
  try {
    require_.resolve(PACKAGE);
  } catch {
    return undefined;
  }
  return require_(PACKAGE) as AddOn;
}
