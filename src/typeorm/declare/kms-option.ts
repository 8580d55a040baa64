import type { Profile } from '../../crypto/fips';
import { ConfigurationError } from '../../errors';
import type { KmsOfScope } from '../../keys/scopes/scope-key-store';
import { ofOwnKms } from '../../keys/wrapping/own-kms-refusals';
import type { KmsProvider } from '../../kms/kms-provider';

import { profileProblem } from './option-problems';

const KMS_METHODS = ['wrapKey', 'unwrapKey', 'health'] as const;

/** Returns what is wrong with a provider; undefined if nothing is. */
export function kmsProblem(
  name: string,
  kms: Partial<KmsProvider> | undefined,
): string | undefined {
  if (KMS_METHODS.every((method) => typeof kms?.[method] === 'function')) return undefined;
  return `${name} must be a KmsProvider, such as localKms({ passphrase: () => process.env.PASSPHRASE })`;
}

/** Returns the function `kms` with typed errors: what it fails with for one scope concerns the rows of that alone. */
export function checkedKmsOf(kmsOf: KmsOfScope, profile: Profile | undefined): KmsOfScope {
  return (scope) => {
    const kms = provided(kmsOf, scope);
    const refused = profileProblem({ profile }, [kms]);
    if (refused !== undefined)
      throw ofOwnKms(new ConfigurationError(`The option kms: ${refused}.`));
    if (kmsProblem('kms', kms) === undefined) return kms;
    throw ofOwnKms(
      new ConfigurationError(
        `The option kms returned no KmsProvider for a ${scope.kind}. Return one, and not a promise of it, for every scope.`,
      ),
    );
  };
}

function provided(kmsOf: KmsOfScope, scope: Parameters<KmsOfScope>[0]): KmsProvider {
  try {
    return kmsOf(scope);
  } catch (cause) {
    throw ofOwnKms(
      new ConfigurationError(
        `The option kms threw when it was called for a ${scope.kind}; see the cause. Return a KmsProvider for every scope.`,
        { cause },
      ),
    );
  }
}
