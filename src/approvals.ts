import type { ApprovableOperation } from './approvals/approval-policy';
import { isSamePolicy, policyValue } from './approvals/approval-policy';
import { newRequest, requestIn, requireSigner, signersOf } from './approvals/approval-request';
import type { ApprovalRow } from './approvals/approval-store';
import type { CanonicalValue } from './encoding/canonical-json';
import { policyMark } from './approvals/stored-policies';
import type { StoredPolicy } from './approvals/stored-policies';
import { ApprovalRequiredError, ConfigurationError, UnsupportedValueError } from './errors';
import type { Installation } from './typeorm/installation/installation';
import type { InstalledApprovals } from './typeorm/installation/installed-approvals';

/** The result of {@link Approvals.setPolicy}. */
export interface PolicyChange {
  /** Whether the policy was stored, or was in force already. */
  readonly changed: boolean;
  /** Version of the policy in force. */
  readonly version: number;
}

/** A request that waits for approvals, or to be carried out. */
export interface RequestInfo {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly operation: ApprovableOperation | 'approvals';
  /** What is asked for, in full. */
  readonly parameters: unknown;
  /** The key, and its epoch; or the newest epoch of all keys. */
  readonly target: unknown;
  readonly requester: string;
  readonly expiresAt: Date;
  /** Ids of those who have approved it; not the one who asks. */
  readonly approvedBy: readonly string[];
  /** Whether the one who asks has signed it. */
  readonly signedByRequester: boolean;
  /** How many have to approve it. */
  readonly required: number;
  /** The line to be signed as it is, its line feed included: `ssh-keygen -Y sign -n typeorm-field-encryption`. */
  readonly document: string;
}

/** The most signatures of a request, so that nobody fills its row. */
const MOST_SIGNATURES = 100;

/** Operations that take more than one person: their policy, the requests, and who has approved them. */
export class Approvals {
  readonly #installation: Installation;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
  }

  get #parts(): InstalledApprovals {
    return this.#installation.approvals;
  }

  /**
   * Stores the policy of the option `approvals`. The first one is taken as it is; each later one is a request that
   * those of the one before have to approve, and that is carried out when this is called again.
   *
   * @throws {@link ApprovalRequiredError} until it is approved; {@link ConfigurationError} without the option
   */
  setPolicy(): Promise<PolicyChange> {
    return this.#installation.access.run('approvals', async () => {
      const { configured, gate, policies } = this.#parts;
      if (configured === undefined) throw noPolicy();
      const stored = await policies.newest();
      const parameters = policyValue(configured);
      if (stored === undefined) return this.#storeFirst(parameters);
      if (isSamePolicy(stored, configured)) return { changed: false, version: stored.version };
      const version = stored.version + 1;
      return gate.carryOut(stored, 'approvals', { parameters }, async (row) => {
        await this.#installation.audit.record({
          ...{ operation: 'approvals', outcome: 'done', reference: row.id },
          mark: policyMark(version),
        });
        await policies.newest();
        return { changed: true, version };
      });
    });
  }

  /** Lists the requests that can still be approved or carried out, the newest first. */
  async list(): Promise<RequestInfo[]> {
    const { gate, now, policies, store } = this.#parts;
    const policy = await policies.newest();
    if (policy === undefined) return [];
    const time = await now();
    const infos: RequestInfo[] = [];
    for (const row of await store.open()) {
      const info = infoOf(row, policy);
      if (info === undefined || info.expiresAt <= time || (await gate.uses.isUsed(row))) continue;
      infos.push(info);
    }
    return infos;
  }

  /** Returns the request with this id if it can still be approved or carried out. */
  async find(id: string): Promise<RequestInfo | undefined> {
    const { gate, now, policies, store } = this.#parts;
    const policy = await policies.newest();
    const row = await store.find(requireText(id, 'the id of a request'));
    const info = row && policy && infoOf(row, policy);
    if (row === undefined || info === undefined || (await gate.uses.isUsed(row))) return undefined;
    return info.expiresAt > (await now()) ? info : undefined;
  }

  /**
   * Adds the signature of an approver, or of the one who asks, to a request.
   *
   * @param signature - as `ssh-keygen -Y sign -n typeorm-field-encryption` writes it.
   * @throws {@link ApprovalRequiredError} for a signature that does not count, and a request that has ended
   */
  approve(id: string, signature: string): Promise<RequestInfo> {
    return this.#installation.access.run('approve', async () => {
      requireText(signature, 'the signature, as text');
      const policy = await this.#parts.policies.newest();
      const row = await this.#parts.store.find(requireText(id, 'the id of a request'));
      const info = row && policy && infoOf(row, policy);
      if (row === undefined || policy === undefined || info === undefined) throw unknown(id);
      if (info.expiresAt <= (await this.#parts.now())) throw ended(id, 'it has ended');
      if (await this.#parts.gate.uses.isUsed(row)) throw ended(id, 'it was carried out');
      const signer = signerOf(row, signature, policy);
      const signed = [...row.signatures, signature];
      if (signed.length > MOST_SIGNATURES) throw ended(id, 'it has too many signatures');
      const mark = { ...policyMark(policy.version), id: id.slice(0, 16), purpose: 'approval' };
      const append = await this.#installation.audit.readyToRecord();
      const event = { operation: 'approve', outcome: 'done', reference: id } as const;
      const isSigned = await this.#parts.store.sign(row, signed, (connection) =>
        append([{ ...event, mark: { ...mark, name: signer } }], connection),
      );
      if (!isSigned) throw ended(id, 'somebody else signed it at the same time: sign again');
      return infoOf({ ...row, signatures: signed }, policy) ?? info;
    });
  }

  async #storeFirst(parameters: {
    readonly [option: string]: CanonicalValue;
  }): Promise<PolicyChange> {
    const { application, now, policies, store } = this.#parts;
    const work = {
      ...({ operation: 'approvals', parameters, requester: '', target: {} } as const),
      application,
      policy: { version: 0, id: '' },
    };
    const row = { ...newRequest(work, await now(), 0), version: 1, usedBy: '' };
    const append = await this.#installation.audit.readyToRecord();
    const event = { operation: 'approvals', outcome: 'done', reference: row.id } as const;
    const isStored = await store.insert(row, (connection) =>
      append([{ ...event, mark: policyMark(1) }], connection),
    );
    if (!isStored) throw ended(row.id, 'another process stored a policy first');
    await policies.newest();
    return { changed: true, version: 1 };
  }
}

/** JavaScript callers may give anything. */
function requireText(given: unknown, what: string): string {
  if (typeof given === 'string') return given;
  throw new UnsupportedValueError(`Give ${what}.`);
}

function infoOf(row: ApprovalRow, policy: StoredPolicy): RequestInfo | undefined {
  const request = requestIn(row);
  if (request?.policy.id !== policy.id) return undefined;
  const { operation, parameters, target, requester, expires } = request;
  const { approvers, hasRequester } = signersOf(row, policy);
  return {
    ...{ id: row.id, operation: operation as RequestInfo['operation'], parameters, target },
    ...{ requester, expiresAt: new Date(expires), approvedBy: [...approvers].sort() },
    ...{ signedByRequester: hasRequester, required: policy.required, document: row.document },
  };
}

function signerOf(row: ApprovalRow, signature: string, policy: StoredPolicy): string {
  try {
    const signer = requireSigner(signature, row.document, policy);
    const isKnown = row.signatures.some((each) => each === signature);
    if (isKnown || hasSigned(row, policy, signer)) {
      throw new RangeError(`${signer} has signed it before`);
    }
    return signer;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw ended(row.id, `the signature does not count: ${error.message}`);
  }
}

function hasSigned(row: ApprovalRow, policy: StoredPolicy, signer: string): boolean {
  const { approvers, hasRequester } = signersOf(row, policy);
  const isRequester = requestIn(row)?.requester === signer;
  return isRequester ? hasRequester : approvers.has(signer);
}

function ended(id: string, why: string): ApprovalRequiredError {
  return new ApprovalRequiredError(`Request ${id} was not changed: ${why}.`, { request: id });
}

function unknown(id: string): ApprovalRequiredError {
  return ended(id, 'there is none under the policy in force; run the operation again');
}

function noPolicy(): ConfigurationError {
  return new ConfigurationError(
    'The DataSource has no option `approvals`. To end a policy, give it without `operations`.',
  );
}
