import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';

import type { ManagedOperation } from '../access/access-level';
import { currentActor } from '../audit/actor';
import type { AuditedMark, AuditEvent } from '../audit/audit-entry';
import type { CanonicalValue } from '../encoding/canonical-json';
import { ApprovalRequiredError } from '../errors';

import { differences, isApprovable, isSamePolicy } from './approval-policy';
import type { CheckedPolicy } from './approval-policy';
import { isRequestOf, newRequest, requestIn, signersOf, subjectId } from './approval-request';
import type { ApprovalRequest, RequestedWork, Subject } from './approval-request';
import type { ApprovalRow } from './approval-store';
import { markOf, requestMark, RequestUses } from './request-uses';
import type { CarryingOut, UseParts } from './request-uses';
import type { StoredPolicies, StoredPolicy } from './stored-policies';

/** What requests depend on, and where it is remembered that they were carried out. */
export interface GateParts<C> extends UseParts<C> {
  readonly policies: StoredPolicies;
  /** The policy of the configuration. */
  readonly configured: CheckedPolicy | undefined;
  readonly application: string;
  /** Returns the state of a key, or of all of them. */
  readonly stateOf: (keyId?: string) => Promise<TargetState>;
}

/** The state of a key, or of all, as its row has it. */
export interface TargetState {
  /** The newest epoch. */
  readonly epoch: number;
  /** Hash of all that the rows hold but the counts of uses, in hexadecimal digits. */
  readonly sha256: string;
}

/** Lets operations of the policy pass once others have approved them, and each request once. */
export class ApprovalGate<C> {
  readonly #parts: GateParts<C>;
  readonly #underWay = new AsyncLocalStorage<CarryingOut>();
  readonly uses: RequestUses<C>;

  constructor(parts: GateParts<C>) {
    this.#parts = parts;
    this.uses = new RequestUses(parts);
  }

  /**
   * Runs an operation, by an approved request if the policy asks for one, and else requests it.
   *
   * @throws {@link ApprovalRequiredError}, and whatever the operation throws
   */
  async run<T>(
    operation: ManagedOperation,
    subject: Subject,
    work: () => T | Promise<T>,
  ): Promise<T> {
    const policy = await this.#policyFor(operation);
    return policy === undefined ? work() : this.carryOut(policy, operation, subject, work);
  }

  /** Names the request of the operation that is carried out in the audit log; undefined where it needs none. */
  mark(): AuditedMark | undefined {
    const underWay = this.#underWay.getStore();
    return underWay && requestMark(underWay);
  }

  /**
   * Lets work go on that a request has begun: one that was approved, was carried out, and has not ended.
   *
   * @param markId - returns the `id` of its {@link ApprovalGate.mark}; called only where approval is needed.
   * @param covers - whether a request with these parameters is about all of it.
   * @throws {@link ApprovalRequiredError} if there is none
   */
  async requireBegun(
    operation: ManagedOperation,
    markId: () => Promise<string | undefined>,
    covers: (parameters: CanonicalValue) => boolean,
  ): Promise<void> {
    const policy = await this.#policyFor(operation);
    if (policy === undefined) return;
    const begunBy = await markId();
    for (const row of await this.#parts.store.used()) {
      const request = requestIn(row);
      if (request?.operation !== operation || request.policy.id !== policy.id) continue;
      const isAbout = markOf(row.id) === begunBy && covers(request.parameters);
      if (!isAbout || (await this.uses.hasEnded(request))) continue;
      if (signersOf(row, policy).isApproved && (await this.uses.isUsed(row))) return;
    }
    throw new ApprovalRequiredError(
      `${operation} needs approval, and no request that was approved and lasts is about this. Nothing was done. ` +
        'Begin it again.',
    );
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
        `${titleOf(operation)} needs approval: request ${row.id} has ${String(approvers.size)} of ` +
          `${String(policy.required)} approvals${asked}. It ends at ${request.expires}. Nothing was changed.`,
        { request: row.id },
      );
    }
    return this.#underWay.run({ row, request, usedBy: randomUUID() }, work, row);
  }

  /** {@link RequestUses.take} for the operation that is being recorded; undefined where nothing needs approval. */
  async consume(connection: C): Promise<AuditEvent | undefined> {
    const underWay = this.#underWay.getStore();
    return underWay && this.uses.take(underWay, connection);
  }

  /** Returns the policy if it asks for approval of an operation. */
  async #policyFor(operation: ManagedOperation): Promise<StoredPolicy | undefined> {
    if (!isApprovable(operation)) return undefined;
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
        ? `the policy of the option approvals names ${operation}, and is not stored yet. Run: field-encryption approvals policy`
        : `${operation} needs approval, and the option approvals differs from version ${String(stored.version)} of the ` +
            `stored policy in ${differences(stored, configured)}. Give it that, or let the change be approved: ` +
            'field-encryption approvals policy',
    );
  }

  async #workOf(
    policy: StoredPolicy,
    operation: ManagedOperation,
    { key, parameters }: Subject,
  ): Promise<RequestedWork> {
    const { application, stateOf } = this.#parts;
    const actor = currentActor();
    const requester = actor?.requester ?? actor?.id;
    if (requester === undefined || !policy.approvers.some(({ id }) => id === requester)) {
      throw new ApprovalRequiredError(
        `${titleOf(operation)} needs approval, and only an approver can ask for it, ` +
          `${requester === undefined ? 'and nobody is named' : `which ${JSON.stringify(requester)} is not`}. Name one: runAs({ id }, …) or ` +
          'runAs({ id, requester }, …); on the command line, --requester <id>.',
      );
    }
    return {
      ...{ application, operation, requester, parameters },
      policy: { version: policy.version, id: policy.id },
      target: { key, ...(await stateOf(key)) },
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
      if (!(await this.uses.hasEnded(request)) && !(await this.uses.isUsed(row)))
        return { row, request };
    }
    const row = newRequest(work, now, policy.expiresAfterMs);
    const request = requestIn(row);
    if (request === undefined) throw new TypeError('it is no request');
    await store.insert(row);
    return { row, request };
  }
}

function titleOf(operation: ManagedOperation): string {
  return operation === 'approvals' ? 'a change of the policy' : operation;
}
