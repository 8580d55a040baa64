import type { Attributes } from '@opentelemetry/api';

import { FieldEncryptionError } from '../errors';
import { BRANCH_NAME, isOwnBranchName } from '../keys/record/scope';
import type { WorkMessage } from '../telemetry/channels';
import type { Installation } from '../typeorm/installation/installation';

/** In the place of any other value of an attribute. */
const OTHER = '_OTHER';

/** Returns `error.type` for work that has failed: the code of its error, never what it says. */
export function errorType({ error }: Pick<WorkMessage, 'error'>): Attributes {
  if (error === undefined) return {};
  return { 'error.type': error instanceof FieldEncryptionError ? error.code : OTHER };
}

/** Names of keys and providers as attributes. */
export interface KnownNames {
  key: (name: string) => string;
  provider: (name: string) => string;
}

/**
 * Returns the names that the application has given, and one for all others: whoever writes to the key table chooses
 * what stands in its rows. The branch keys of all scopes that have a KMS of their own are one key.
 */
export function knownNames(installation: Installation): KnownNames {
  const { kms, otherKms = [] } = installation.options;
  const providers = [kms, ...otherKms].map((provider) => provider.name);
  const keys = (): readonly string[] => (installation.isOpen ? installation.columns.keyNames : []);
  return {
    key: (name) => {
      if (isOwnBranchName(name)) return 'branch:*';
      return ['default', BRANCH_NAME, ...keys()].includes(name) ? name : OTHER;
    },
    provider: (name) => (providers.includes(name) ? name : OTHER),
  };
}
