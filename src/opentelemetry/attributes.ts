import type { Attributes } from '@opentelemetry/api';

import { FieldEncryptionError } from '../errors';
import { isOwnBranchName } from '../keys/record/scope';
import type { WorkMessage } from '../telemetry/channels';

/** Returns `error.type` for work that has failed: the code of its error, never what it says. */
export function errorType({ error }: Pick<WorkMessage, 'error'>): Attributes {
  if (error === undefined) return {};
  return { 'error.type': error instanceof FieldEncryptionError ? error.code : '_OTHER' };
}

/** Returns the name of a key, the same for the branch keys of all scopes that have a KMS of their own. */
export function keyAttribute(name: string): string {
  return isOwnBranchName(name) ? 'branch:*' : name;
}
