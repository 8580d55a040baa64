import { LEVELS } from '../access/access-level';
import type { ControlledOperation } from '../access/access-level';
import type { CanonicalValue } from '../encoding/canonical-json';

import { hasUnseen, shownJson } from './shown-json';
import { readPublicKeyLine } from './ssh/ssh-public-key';

/** The operations that are carried out at once, or change nothing: `suspend` and `revoke` must never wait. */
const NEVER = [
  ...(['use', 'sign', 'suspend', 'revoke', 'maintain', 'drill', 'data verify'] as const),
  ...(['approvals', 'approve', 'incident', 'acknowledge'] as const),
] as const;

/** An operation that can be made to need approval. */
export type ApprovableOperation = Exclude<ControlledOperation, (typeof NEVER)[number]>;

/** A person who may ask for operations, and approve those that others ask for. */
export interface Approver {
  /** 1 to 64 characters. */
  readonly id: string;
  /** The line of an OpenSSH public key file: ed25519, ecdsa, or rsa of 2048 bits and more. */
  readonly key: string;
}

/** Which operations take more than one person. */
export interface ApprovalPolicy {
  readonly operations: readonly ApprovableOperation[];
  /** How many persons have to approve, the one who asks not among them. */
  readonly required: number;
  /** At least one more than `required`; two more, so that one who is lost can be replaced by the others. */
  readonly approvers: readonly Approver[];
  /** Milliseconds from a request to its end, 60,000 to 2,678,400,000. Defaults to 86,400,000, a day. */
  readonly expiresAfterMs?: number;
}

/** A checked policy, in the one form in which it is stored and compared. */
export interface CheckedPolicy extends Required<ApprovalPolicy> {
  /** By their public key, in base64. */
  readonly byKey: ReadonlyMap<string, string>;
}

const DAY_MS = 86_400_000;
const LEAST_MS = 60_000;
const MOST_APPROVERS = 64;
const MAX_ID_CHARS = 64;

/** Whether an operation can be made to need approval. */
export function isApprovable(operation: string): operation is ApprovableOperation {
  return Object.hasOwn(LEVELS, operation) && !(NEVER as readonly string[]).includes(operation);
}

const APPROVABLE = Object.keys(LEVELS).filter(isApprovable).sort();

/**
 * Checks a policy, and sorts it.
 *
 * @throws RangeError that says what is wrong with it
 */
export function checkedPolicy(policy: ApprovalPolicy): CheckedPolicy {
  const { operations, required, approvers, expiresAfterMs = DAY_MS, ...others } = policy;
  const [unknown] = Object.keys(others);
  requireThat(unknown === undefined, `an unknown option "${unknown ?? ''}"`);
  requireThat(
    Array.isArray(operations) && Array.isArray(approvers),
    'no operations, or no approvers',
  );
  const wrong = (operations as readonly string[]).find((operation) => !isApprovable(operation));
  requireThat(
    wrong === undefined,
    `"${wrong ?? ''}" among its operations, which are some of: ${APPROVABLE.join(', ')}`,
  );
  requireThat(
    isBetween(expiresAfterMs, LEAST_MS, 31 * DAY_MS),
    'an expiresAfterMs that is not 60,000 to 2,678,400,000',
  );
  requireThat(
    isBetween(required, 1, MOST_APPROVERS),
    'a `required` that is not a number of persons, 1 to 64',
  );
  requireThat(
    isBetween(approvers.length, required + 1, MOST_APPROVERS),
    `too few approvers, or too many: it needs one more than \`required\` at least, ${String(MOST_APPROVERS)} at most`,
  );
  const persons = approvers.map(checkedApprover).sort((a, b) => (a.id < b.id ? -1 : 1));
  const byKey = new Map(persons.map(({ id, key }) => [key.split(' ')[1] ?? '', id]));
  requireThat(byKey.size === persons.length, 'two approvers with one key');
  requireThat(new Set(byKey.values()).size === persons.length, 'two approvers with one id');
  return {
    operations: [...new Set(operations)].sort(),
    ...{ required, approvers: persons, expiresAfterMs, byKey },
  };
}

/** Returns a policy as it is stored. */
export function policyValue(policy: CheckedPolicy): {
  readonly [option in keyof ApprovalPolicy]-?: CanonicalValue;
} {
  const { operations, required, approvers, expiresAfterMs } = policy;
  const persons = approvers.map(({ id, key }) => ({ id, key }));
  return { operations, required, approvers: persons, expiresAfterMs };
}

/** Whether two policies are the same. */
export function isSamePolicy(a: CheckedPolicy, b: CheckedPolicy): boolean {
  return shownJson(policyValue(a)) === shownJson(policyValue(b));
}

/** Names the options in which two policies differ. */
export function differences(stored: CheckedPolicy, configured: CheckedPolicy | undefined): string {
  if (configured === undefined) return 'everything: it is left out';
  const [a, b] = [policyValue(stored), policyValue(configured)];
  const names = Object.keys(a) as (keyof ApprovalPolicy)[];
  return names.filter((name) => shownJson(a[name]) !== shownJson(b[name])).join(', ');
}

function checkedApprover({ id, key }: Approver): Approver {
  const isId = typeof id === 'string' && id.length >= 1 && id.length <= MAX_ID_CHARS;
  requireThat(isId && typeof key === 'string', 'an approver who is not { id, key }');
  const isPlain = id === id.trim().normalize('NFC') && !/\p{Cc}/u.test(id) && !hasUnseen(id);
  requireThat(isPlain, 'an approver whose id has hidden characters, or more than one form');
  try {
    const [type] = key.trim().split(/\s/, 1);
    // Without the comment, which says nothing.
    return { id, key: `${String(type)} ${readPublicKeyLine(key).toString('base64')}` };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(`a wrong key of ${id}: ${error.message}`);
  }
}

function isBetween(value: unknown, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
}

function requireThat(isRight: boolean, problem: string): asserts isRight {
  if (!isRight) throw new RangeError(problem);
}
