import { isSamePolicy } from '../approvals/approval-policy';
import { requestIn } from '../approvals/approval-request';
import type { StoredPolicy } from '../approvals/stored-policies';
import { ApprovalRequiredError, ConfigurationError } from '../errors';
import type { Installation } from '../typeorm/installation/installation';

/** The policy of approvals, and the requests under it. */
export interface ApprovalState {
  /**
   * `'none'` where nothing needs approval, or the role may not read the tables; `'unproven'` for one that was changed
   * past the library.
   */
  readonly policy: 'none' | 'inForce' | 'notStored' | 'differs' | 'unproven';
  /** Whether keys are destroyed only with approval. */
  readonly destroyNeedsApproval: boolean;
  /** Whether the loss of one approver would lock out all of them. */
  readonly hasNoSpareApprover: boolean;
  /** Requests that can still be approved, or carried out. */
  readonly openRequests: number;
}

const NONE: ApprovalState = {
  ...{ policy: 'none', destroyNeedsApproval: false, hasNoSpareApprover: false, openRequests: 0 },
};

/** Compares the policy of the option with the one that is stored. */
export async function approvalState(installation: Installation): Promise<ApprovalState> {
  const { configured, policies } = installation.approvals;
  try {
    const stored = await policies.newest();
    const operations = [stored, configured].flatMap((policy) => policy?.operations ?? []);
    if (operations.length === 0) return NONE;
    const isSame =
      stored !== undefined && configured !== undefined && isSamePolicy(stored, configured);
    const { approvers = [], required = 0 } = stored ?? configured ?? {};
    return {
      policy: isSame ? 'inForce' : stored === undefined ? 'notStored' : 'differs',
      destroyNeedsApproval: operations.includes('destroy'),
      hasNoSpareApprover: approvers.length === required + 1,
      openRequests: stored === undefined ? 0 : await openRequests(installation, stored),
    };
  } catch (error) {
    if (error instanceof ConfigurationError) return NONE;
    if (!(error instanceof ApprovalRequiredError)) throw error;
    return { ...NONE, policy: 'unproven', destroyNeedsApproval: true };
  }
}

async function openRequests(
  { approvals: { now, store } }: Installation,
  policy: StoredPolicy,
): Promise<number> {
  const time = await now();
  const requests = (await store.open()).map(requestIn);
  return requests.filter(
    (request) => request?.policy.id === policy.id && new Date(request.expires) > time,
  ).length;
}
