import type { ManagedOperation } from '../../access/access-level';
import type { Subject } from '../../approvals/approval-request';

import type { Installation } from './installation';

/**
 * Runs an operation on keys, or over rows, if the actor may, and once others have approved it where the policy asks
 * for that. A dry run needs no approval.
 *
 * @throws {@link AccessDeniedError}, {@link ApprovalRequiredError}, and whatever the operation throws
 */
export function managedWork<T>(
  installation: Pick<Installation, 'access' | 'approvals' | 'hasScopes' | 'keys'>,
  operation: ManagedOperation,
  subject: Subject,
  work: () => T | Promise<T>,
): Promise<T> {
  const { access, approvals } = installation;
  return access.run(operation, async () => {
    await nameOwnBranch(installation, subject);
    const isDry = subject.parameters['dryRun'] === true;
    return isDry ? work() : approvals.gate.run(operation, subject, work);
  });
}

/** Finds the KMS of the branch of a scope, if that is what is worked on: this process may have used no row of it. */
async function nameOwnBranch(
  { hasScopes, keys }: Pick<Installation, 'hasScopes' | 'keys'>,
  { key, parameters }: Subject,
): Promise<void> {
  const nameOrId = key ?? parameters['name'];
  if (hasScopes && typeof nameOrId === 'string') {
    await keys.scopeOperations.nameOwnBranches(nameOrId);
  }
}
