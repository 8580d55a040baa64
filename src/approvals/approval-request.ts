import { createHash, randomBytes } from 'node:crypto';

import { LEVELS } from '../access/access-level';
import type { ManagedOperation } from '../access/access-level';
import type { CanonicalValue } from '../encoding/canonical-json';
import { UnsupportedValueError } from '../errors';

import type { CheckedPolicy } from './approval-policy';
import type { ApprovalRow } from './approval-store';
import { shownJson } from './shown-json';
import { readSignature } from './ssh/ssh-signature';

/** What is done, and to what. */
export interface Subject {
  /** Id of the key that it is done to; left out for what is done to many. */
  readonly key?: string | undefined;
  readonly parameters: { readonly [name: string]: CanonicalValue };
}

/** What a request has in common with each repetition of the operation. */
export interface RequestedWork {
  readonly application: string;
  readonly operation: ManagedOperation;
  readonly parameters: CanonicalValue;
  /** The id of which no other database has. */
  readonly policy: { readonly version: number; readonly id: string };
  readonly requester: string;
  /** With the epoch of the key, or of the newest change to any. */
  readonly target: CanonicalValue;
}

/** A request, as it is signed. */
export interface ApprovalRequest extends RequestedWork {
  /** Version of the form. */
  readonly approval: number;
  /** ISO 8601, UTC */
  readonly expires: string;
  readonly nonce: string;
}

const FORM = 1;
/** The longest document, in characters: those who approve have to read it. */
const MAX_DOCUMENT_CHARS = 65_536;
const ID_CHARS = 32;
const NONCE_BYTES = 16;

/** Returns a new request as a row. @throws {@link UnsupportedValueError} for one that is too long to be read */
export function newRequest(work: RequestedWork, now: Date, expiresAfterMs: number): ApprovalRow {
  const expires = new Date(now.getTime() + expiresAfterMs).toISOString();
  const nonce = randomBytes(NONCE_BYTES).toString('base64url');
  const document = documentOf({ ...work, approval: FORM, expires, nonce });
  if (document.length > MAX_DOCUMENT_CHARS) throw tooLong(work.operation);
  return {
    ...{ id: digestOf(document), subject: subjectId(work), document },
    ...{ signatures: [], usedBy: null, version: null, createdAt: now.toISOString() },
  };
}

/** Returns what the requests of the same work share, to find them by. */
export function subjectId({
  application,
  operation,
  parameters,
  policy,
  requester,
  target,
}: RequestedWork): string {
  const work = { application, operation, parameters, policy, requester, target };
  return digestOf(shownJson(work));
}

/** Reads the request in a row; undefined for one that this library did not write. */
export function requestIn({ id, document }: ApprovalRow): ApprovalRequest | undefined {
  if (digestOf(document) !== id) return undefined;
  try {
    const request = JSON.parse(document) as ApprovalRequest;
    const { approval, expires, nonce, operation, policy, requester } = request;
    const areTexts = [expires, nonce, requester, policy.id].every(
      (text) => typeof text === 'string',
    );
    const isKnown = Object.hasOwn(LEVELS, operation) && isIsoTime(expires);
    const isOne = areTexts && isKnown && approval === FORM;
    return isOne && documentOf(request) === document ? request : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a row is a request of this very work: its bytes are those that would be written for it now. */
export function isRequestOf(row: ApprovalRow, work: RequestedWork): boolean {
  const request = requestIn(row);
  if (request === undefined) return false;
  const { expires, nonce } = request;
  return documentOf({ ...work, approval: FORM, expires, nonce }) === row.document;
}

/** Who has signed a request. */
export interface Signers {
  /** Those who approve: never the one who asks. */
  readonly approvers: ReadonlySet<string>;
  /** Whether the one who asks has signed. */
  readonly hasRequester: boolean;
  readonly isApproved: boolean;
}

/** Verifies the signatures of a request; those of others, and those over something else, do not count. */
export function signersOf(row: ApprovalRow, policy: CheckedPolicy): Signers {
  const approvers = new Set(row.signatures.map((each) => signerOf(each, row.document, policy)));
  approvers.delete(undefined);
  const hasRequester = approvers.delete(requestIn(row)?.requester);
  const isApproved = hasRequester && approvers.size >= policy.required;
  return { approvers: approvers as Set<string>, hasRequester, isApproved };
}

/** Returns whose signature it is; undefined for one that proves nothing. */
function signerOf(armored: string, document: string, policy: CheckedPolicy): string | undefined {
  try {
    return requireSigner(armored, document, policy);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Returns whose signature it is. @throws RangeError that says why it does not count */
export function requireSigner(armored: string, document: string, policy: CheckedPolicy): string {
  const signature = readSignature(armored);
  const signer = policy.byKey.get(signature.signedBy.toString('base64'));
  if (signer === undefined) throw new RangeError('its key is that of no approver');
  if (signature.holds(document)) return signer;
  throw new RangeError('it is over something else, or was changed');
}

/** Returns the bytes that are signed: a line of canonical JSON, its line feed included. */
function documentOf(request: ApprovalRequest): string {
  return `${shownJson({ ...request })}\n`;
}

function isIsoTime(text: string): boolean {
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && time.toISOString() === text;
}

function tooLong(operation: string): UnsupportedValueError {
  return new UnsupportedValueError(
    `${operation} needs approval, and its request would be longer than ${String(MAX_DOCUMENT_CHARS)} characters, ` +
      'which nobody reads. Ask for less at a time.',
  );
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, ID_CHARS);
}
