import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';

import type { ManagedOperation } from '../access/access-level';
import { currentActor } from '../audit/actor';
import type { AuditEntry, AuditEvent } from '../audit/audit-entry';
import { ApprovalRequiredError } from '../errors';

import { isSamePolicy } from './approval-policy';
import type { CheckedPolicy } from './approval-policy';
import { isRequestOf, newRequest, requestIn, signersOf, subjectId } from './approval-request';
import type { ApprovalRequest, RequestedWork, Subject } from './approval-request';
import type { ApprovalRow, ApprovalStore } from './approval-store';
import { policyMark } from './stored-policies';
import type { StoredPolicies, StoredPolicy } from './stored-policies';

/** What requests depend on, and where it is remembered that they were carried out. */
export interface GateParts<C> {
  readonly store: ApprovalStore<C>;
  readonly policies: StoredPolicies;
  /** The policy of the configuration. */
  readonly configured: CheckedPolicy | undefined;
  readonly application: string;
  /** Returns the epoch of a key, or that of the newest change to any. */
  readonly epochOf: (keyId?: string) => Promise<number>;
  readonly now: () => Promise<Date>;
  readonly referringTo: (requestId: string) => Promise<AuditEntry[]>;
  /** Whether the anchor knows that a request was carried out. */
  readonly isAnchored: (requestId: string) => Promise<boolean>;
  readonly anchorUse: (requestId: string, expires: Date, connection: C) => Promise<void>;
}

/** An operation that is carried out by an approved request. */
interface CarryingOut {
  readonly row: ApprovalRow;
  readonly request: ApprovalRequest;
  readonly usedBy: string;
}

/** Lets operations of the policy pass once others have approved them, and each request once. */
export class ApprovalGate<C> {
  readonly #parts: GateParts<C>;
  readonly #underWay = new AsyncLocalStorage<CarryingOut>();

  constructor(parts: GateParts<C>) {
    this.#parts = parts;
  }

  /**
   * Runs an operation, by an approved request if the policy asks for one, and else requests it.
   *
   * @throws {@link ApprovalRequiredError}, and whatever the operation throws
   */
  async run<T>(
    operation: ManagedOperation,
    subject: Subject | (() => Subject),
    work: () => T | Promise<T>,
  ): Promise<T> {
    const policy = await this.#policyFor(operation);
    if (policy === undefined) return work();
    const asked = typeof subject === 'function' ? subject() : subject;
    return this.carryOut(policy, operation, asked, work);
  }

  /** Whether an operation needs approval; true also where the policy cannot be told. */
  async asksFor(operation: ManagedOperation): Promise<boolean> {
    try {
      return (await this.#policyFor(operation)) !== undefined;
    } catch (error) {
      if (error instanceof ApprovalRequiredError) return true;
      throw error;
    }
  }

  /** {@link ApprovalGate.run} for an operation that needs approval under a policy; `work` is handed the request. */
  async carryOut<T>(
    policy: StoredPolicy,
    operation: ManagedOperation,
    subject: Subject,
    work: (row: ApprovalRow) => T | Promise<T>,
  ): Promise<T> {
    const requested = await this.#workOf(policy, operation, subject);
    const { row, request } = await this.#requestFor(requested, policy);
    const { approvers, hasRequester, isApproved } = signersOf(row, policy);
    if (!isApproved) {
      const asked = hasRequester
        ? ''
        : `, and not the signature of ${requested.requester} who asks`;
      throw new ApprovalRequiredError(
        `${operation} needs approval: request ${row.id} has ${String(approvers.size)} of ` +
          `${String(policy.required)} approvals${asked}. It ends at ${request.expires}. Nothing was changed.`,
        { request: row.id },
      );
    }
    return this.#underWay.run({ row, request, usedBy: randomUUID() }, work, row);
  }

  /**
   * Takes the request of the operation that is recorded, in its transaction. Returns what is recorded before it;
   * undefined where nothing needs approval, or the request was taken by an earlier transaction of the operation.
   *
   * @throws {@link ApprovalRequiredError} if another process was faster
   */
  async consume(connection: C): Promise<AuditEvent | undefined> {
    const underWay = this.#underWay.getStore();
    if (underWay === undefined) return undefined;
    const { row, request, usedBy } = underWay;
    const { operation, policy, requester } = request;
    const version = operation === 'approvals' ? policy.version + 1 : null;
    const taken = await this.#parts.store.take(row.id, { usedBy, version }, connection);
    if (taken === false) throw carriedOut(row.id);
    if (taken === 'own') return undefined;
    await this.#parts.anchorUse(row.id, new Date(request.expires), connection);
    const mark = { ...policyMark(policy.version), id: row.id.slice(0, 16), name: requester };
    return {
      ...{ operation, outcome: 'approved', reference: row.id },
      mark: { ...mark, purpose: 'approval' },
    };
  }

  /** Whether a request was carried out, whatever its row says. */
  async isUsed({ id, usedBy }: ApprovalRow): Promise<boolean> {
    if (usedBy !== null || (await this.#parts.isAnchored(id))) return true;
    const entries = await this.#parts.referringTo(id);
    return entries.some(({ outcome }) => outcome === 'approved');
  }

  /** Returns the policy if it asks for approval of an operation. */
  async #policyFor(operation: ManagedOperation): Promise<StoredPolicy | undefined> {
    const { configured, policies } = this.#parts;
    const stored = await policies.newest();
    const asked = [stored, configured].some((policy) =>
      policy?.operations.some((each) => each === operation),
    );
    if (!asked) return undefined;
    if (stored !== undefined && configured !== undefined && isSamePolicy(stored, configured)) {
      return stored;
    }
    throw new ApprovalRequiredError(
      stored === undefined
        ? `${operation} is to need approval, and the policy is not stored yet. Run: field-encryption approvals policy`
        : `${operation} needs approval, and the option approvals is not what version ${String(stored.version)} of the ` +
            'stored policy says. Give it that, or let the change be approved: field-encryption approvals policy',
    );
  }

  async #workOf(
    policy: StoredPolicy,
    operation: ManagedOperation,
    { key, parameters }: Subject,
  ): Promise<RequestedWork> {
    const { application, epochOf } = this.#parts;
    const actor = currentActor();
    const requester = actor?.requester ?? actor?.id;
    if (requester === undefined || !policy.approvers.some(({ id }) => id === requester)) {
      throw new ApprovalRequiredError(
        `${operation} needs approval, and only an approver can ask for it. Name the one: runAs({ id }, …) or ` +
          'runAs({ id, requester }, …); on the command line, --requester <id>.',
      );
    }
    return {
      // That of a dry run, which needs no approval.
      ...{ application, operation, requester, parameters: { ...parameters, dryRun: undefined } },
      policy: { version: policy.version, id: policy.id },
      target: { key, epoch: await epochOf(key) },
    };
  }

  /** Returns the request of work that can still be carried out, or a new one. */
  async #requestFor(
    work: RequestedWork,
    policy: StoredPolicy,
  ): Promise<{ readonly row: ApprovalRow; readonly request: ApprovalRequest }> {
    const { now: timeOf, store } = this.#parts;
    const now = await timeOf();
    for (const row of await store.open(subjectId(work))) {
      const request = requestIn(row);
      if (request === undefined || !isRequestOf(row, work)) continue;
      if (now < new Date(request.expires) && !(await this.isUsed(row))) return { row, request };
    }
    const row = newRequest(work, now, policy.expiresAfterMs);
    const request = requestIn(row);
    if (request === undefined || !(await store.insert(row)))
      throw new TypeError('it is no request');
    return { row, request };
  }
}

/** Returns the error of a request that cannot be carried out again. */
function carriedOut(request: string): ApprovalRequiredError {
  return new ApprovalRequiredError(
    `Request ${request} was carried out before, and is so once. Nothing was changed.`,
    { request },
  );
}
