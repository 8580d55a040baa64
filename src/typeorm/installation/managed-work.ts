import type { ManagedOperation } from '../../access/access-level';
import { isApprovable } from '../../approvals/approval-policy';
import type { Subject } from '../../approvals/approval-request';

import type { Installation } from './installation';

/**
 * Runs an operation on keys, or over rows, if the actor may, and once others have approved it where the policy asks
 * for that. A dry run needs no approval.
 *
 * @throws {@link AccessDeniedError}, {@link ApprovalRequiredError}, and whatever the operation throws
 */
export function managedWork<T>(
  { access, approvals }: Pick<Installation, 'access' | 'approvals'>,
  operation: ManagedOperation,
  subject: Subject | (() => Subject),
  work: () => T | Promise<T>,
): Promise<T> {
  const isDry = typeof subject !== 'function' && subject.parameters['dryRun'] === true;
  return access.run(operation, () =>
    isApprovable(operation) && !isDry ? approvals.gate.run(operation, subject, work) : work(),
  );
}
