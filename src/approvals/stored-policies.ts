import type { AuditedMark, AuditEntry } from '../audit/audit-entry';
import { ApprovalRequiredError } from '../errors';

import { checkedPolicy } from './approval-policy';
import type { ApprovalPolicy, CheckedPolicy } from './approval-policy';
import { requestIn, signersOf } from './approval-request';
import type { ApprovalRow, ApprovalStore } from './approval-store';

/** A version of the policy. */
export interface StoredPolicy extends CheckedPolicy {
  readonly version: number;
  readonly id: string;
}

/** The newest version of the policy that is known from elsewhere than the table. */
export type KnownPolicy = Pick<StoredPolicy, 'version' | 'id'>;

/** The places outside of the table that know the policy. */
export interface PolicyWitnesses {
  /** Returns the last entry of the audit log about the policy, if its seal holds. */
  readonly lastEntry: () => Promise<AuditEntry | null | undefined>;
  /** Returns what the anchor knows; undefined without one. */
  readonly anchored: () => Promise<KnownPolicy | undefined>;
  /** Lets the anchor know, if there is one. */
  readonly anchor: (policy: KnownPolicy) => Promise<void>;
}

/** Stands for the policy in the audit log. */
export const POLICY_MARK_ID = 'approvals';

/** Names a version of the policy in the audit log. */
export function policyMark(version: number): AuditedMark {
  const id = POLICY_MARK_ID;
  return { id, name: id, purpose: id, version };
}

/** The stored versions of the policy, each signed by the quorum of the one before, and proven by the audit log. */
export class StoredPolicies {
  readonly #store: Pick<ApprovalStore, 'policies'>;
  readonly #witnesses: PolicyWitnesses;
  #newest: KnownPolicy | undefined;

  constructor(store: Pick<ApprovalStore, 'policies'>, witnesses: PolicyWitnesses) {
    this.#store = store;
    this.#witnesses = witnesses;
  }

  /** Forgets which version was the newest. */
  forget(): void {
    this.#newest = undefined;
  }

  /**
   * Returns the policy in force; undefined where there never was one.
   *
   * @throws {@link ApprovalRequiredError} for versions that were edited, removed or put back; {@link KeyStateError},
   * retryable, for an anchor that cannot be read or written
   */
  async newest(): Promise<StoredPolicy | undefined> {
    const versions: StoredPolicy[] = [];
    for (const row of await this.#store.policies()) {
      versions.push(following(versions.at(-1), row));
    }
    const newest = versions.at(-1);
    const logged = await this.#witnesses.lastEntry();
    const agrees = logged?.reference === newest?.id && logged?.keyVersion === newest?.version;
    if (logged ? !agrees : newest !== undefined) throw unproven('the audit log knows another one');
    const anchored = await this.#witnesses.anchored();
    for (const known of [this.#newest, anchored]) {
      const isThere = known === undefined || versions[known.version - 1]?.id === known.id;
      if (!isThere) throw unproven('a newer one was known');
    }
    this.#newest = newest;
    // One that was added later, or that could not be written when the policy changed.
    if (newest !== undefined && anchored?.id !== newest.id) await this.#witnesses.anchor(newest);
    return newest;
  }
}

/** @throws {@link ApprovalRequiredError} for a version that does not follow */
function following(previous: StoredPolicy | undefined, row: ApprovalRow): StoredPolicy {
  const request = requestIn(row);
  const { version = 0, id = '' } = previous ?? {};
  const isNext =
    request?.operation === 'approvals' &&
    row.version === version + 1 &&
    request.policy.version === version &&
    request.policy.id === id;
  if (!isNext) throw unproven(`version ${String(version + 1)} is missing, or was edited`);
  if (previous !== undefined && !signersOf(row, previous).isApproved) {
    throw unproven(`version ${String(version + 1)} is not signed by those of the one before`);
  }
  try {
    // Checked there, whatever it holds.
    const policy = checkedPolicy(request.parameters as unknown as ApprovalPolicy);
    return { ...policy, version: version + 1, id: row.id };
  } catch {
    throw unproven(`version ${String(version + 1)} is none`);
  }
}

function unproven(why: string): ApprovalRequiredError {
  return new ApprovalRequiredError(
    `The policy of approvals was changed past the library: ${why}. Nothing that needs approval is carried out. ` +
      'Restore the tables of approvals and of the audit log from a backup, and run `field-encryption audit verify`.',
  );
}
