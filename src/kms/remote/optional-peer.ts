import { createRequire } from 'node:module';

import { ConfigurationError } from '../../errors';

/** Loads a module by name. */
export type Require = (name: string) => unknown;

/**
 * Loads the SDK of a provider, an optional peer dependency of this package.
 *
 * @param who - the provider, such as `awsKms`
 * @throws {@link ConfigurationError} with the line that installs it
 */
export function loadPeer(
  who: string,
  name: string,
  require_: Require = createRequire(__filename),
): unknown {
  try {
    return require_(name);
  } catch (error) {
    throw new ConfigurationError(
      `${who} needs the package ${name}, which cannot be loaded. Run: npm install ${name}`,
      { cause: error },
    );
  }
}
