import type { AuditedMark, AuditEntry, AuditEvent } from '../audit/audit-entry';
import { ApprovalRequiredError } from '../errors';

import type { ApprovalRequest } from './approval-request';
import type { ApprovalRow, ApprovalStore } from './approval-store';
import { policyMark } from './stored-policies';

/** Milliseconds by which a process may be ahead of the database: half of what the anchor keeps ended requests for. */
const CLOCK_SLACK_MS = 43_200_000;

/** The longest that a request lasts, in milliseconds. */
const MOST_MS = 31 * 86_400_000;

/** The places that know which requests were carried out. */
export interface UseParts<C> {
  readonly store: ApprovalStore<C>;
  /** Returns the time by the clock of the database. */
  readonly now: (connection?: C) => Promise<Date>;
  readonly referringTo: (requestId: string, connection?: C) => Promise<AuditEntry[]>;
  /** Whether the anchor knows that a request was carried out. */
  readonly isAnchored: (requestId: string) => Promise<boolean>;
  readonly anchorUse: (requestId: string, expires: Date, connection?: C) => Promise<void>;
}

/** An operation that is carried out by an approved request. */
export interface CarryingOut {
  readonly row: ApprovalRow;
  readonly request: ApprovalRequest;
  readonly usedBy: string;
}

/** The uses of requests: each is carried out once, under its policy and before it ends. */
export class RequestUses<C> {
  readonly #parts: UseParts<C>;

  constructor(parts: UseParts<C>) {
    this.#parts = parts;
  }

  /** Whether a request was carried out, whatever its row says. */
  async isUsed({ id, usedBy }: Pick<ApprovalRow, 'id' | 'usedBy'>): Promise<boolean> {
    return usedBy !== null || this.#isRecorded(id);
  }

  /** Whether a request has ended. The anchor forgets requests by the clocks of processes, so these count, too. */
  async hasEnded({ expires }: ApprovalRequest, connection?: C): Promise<boolean> {
    const end = new Date(expires).getTime();
    const now = await this.#parts.now(connection);
    return now.getTime() >= end || Date.now() >= end + CLOCK_SLACK_MS;
  }

  /**
   * Takes the request of the operation that is recorded, in its transaction. Returns what is recorded before it;
   * undefined if the request was taken by an earlier transaction of the operation.
   *
   * @throws {@link ApprovalRequiredError} if another process was faster, or the request no longer counts
   */
  async take(
    { row, request, usedBy }: CarryingOut,
    connection: C,
  ): Promise<AuditEvent | undefined> {
    const { operation, policy } = request;
    const version = operation === 'approvals' ? policy.version + 1 : null;
    const taken = await this.#parts.store.take(row.id, { usedBy, version }, connection);
    if (taken === 'own') return undefined;
    // Taking waits for another transaction that takes the same request: its entry in the log is visible by now, even if
    // its mark was removed.
    if (taken === false || (await this.#isRecorded(row.id, connection))) throw carriedOut(row.id);
    await this.#requireInForce(request, row.id, connection);
    await this.#parts.anchorUse(row.id, new Date(request.expires), connection);
    const mark = requestMark({ row, request });
    return { operation, outcome: 'approved', reference: row.id, mark };
  }

  /** Whether work that a request had begun has ended, by what {@link RequestUses.end} has noted. */
  hasNoted(workId: string): Promise<boolean> {
    return this.#parts.isAnchored(workId);
  }

  /** Notes in the anchor, if there is one, that work which a request has begun ends, so that it cannot go on. */
  end(workId: string): Promise<void> {
    return this.#parts.anchorUse(workId, new Date(Date.now() + MOST_MS));
  }

  /** Whether the audit log or the anchor says that a request was carried out. */
  async #isRecorded(id: string, connection?: C): Promise<boolean> {
    if (await this.#parts.isAnchored(id)) return true;
    const entries = await this.#parts.referringTo(id, connection);
    return entries.some(({ outcome }) => outcome === 'approved');
  }

  /** Refuses a request that has ended, or whose policy was replaced, since its operation began. */
  async #requireInForce(request: ApprovalRequest, id: string, connection: C): Promise<void> {
    const versions = await this.#parts.store.policies(connection);
    // A request to change the policy is among them by now.
    const newest = versions.filter((row) => row.id !== id).at(-1);
    const isInForce = newest?.id === request.policy.id;
    if (isInForce && !(await this.hasEnded(request, connection))) return;
    throw new ApprovalRequiredError(
      `Request ${id} has ended, or its policy was replaced, while the operation was under way. Nothing was changed.`,
      { request: id },
    );
  }
}

/** Returns the id of a request in the audit log. */
export function markOf(requestId: string): string {
  return requestId.slice(0, 16);
}

/** Names a request, and who asked, in the audit log. */
export function requestMark({ row, request }: Pick<CarryingOut, 'row' | 'request'>): AuditedMark {
  const { policy, requester } = request;
  return {
    ...policyMark(policy.version),
    id: markOf(row.id),
    name: requester,
    purpose: 'approval',
  };
}

/** Returns the error of a request that cannot be carried out again. */
function carriedOut(request: string): ApprovalRequiredError {
  return new ApprovalRequiredError(
    `Request ${request} was carried out before, and is so once. Nothing was changed.`,
    { request },
  );
}
