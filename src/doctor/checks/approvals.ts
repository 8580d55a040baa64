import { approvalState } from '../approval-state';
import { finding } from '../finding';
import type { Check, Finding } from '../finding';

/** Checks that operations which need approval can be approved. */
export const approvals: Check = async (installation) => {
  const { policy, hasNoSpareApprover } = await approvalState(installation);
  const found: Finding[] = [];
  if (policy === 'notStored' || policy === 'differs') found.push(notInForce(policy));
  if (policy === 'unproven') found.push(unproven());
  if (hasNoSpareApprover) found.push(noSpare());
  return found;
};

function notInForce(policy: 'notStored' | 'differs'): Finding {
  return finding(
    'APPROVALS_NOT_IN_FORCE',
    policy === 'notStored'
      ? 'The policy of the option approvals is not stored: what it names is refused.'
      : 'The option approvals is not what the stored policy says: what either of them names is refused.',
    'Run: field-encryption approvals policy. Or give the option what is stored.',
  );
}

function unproven(): Finding {
  return finding(
    'APPROVALS_UNPROVEN',
    'The policy of approvals was changed past the library: what it names is refused.',
    'Restore the tables of approvals and of the audit log from a backup, and run: field-encryption audit verify.',
  );
}

function noSpare(): Finding {
  return finding(
    'APPROVERS_FEW',
    'There is one approver more than have to approve: one lost key locks all of them out.',
    'Name two more than `required`. See "A lost approver" in docs/approvals.md.',
  );
}
