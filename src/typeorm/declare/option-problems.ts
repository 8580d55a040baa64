import {
  IsIn,
  IsNumber,
  IsObject,
  IsOptional,
  IsPositive,
  IsString,
  Length,
} from 'class-validator';

import type { AccessLogOptions } from '../../access/access-entry';
import type { AccessOptions } from '../../access/access-level';
import { checkedPolicy } from '../../approvals/approval-policy';
import type { ApprovalPolicy } from '../../approvals/approval-policy';
import type { AuditOptions } from '../../audit/audit-entry';
import { ED25519_PUBLIC_KEY_BYTES } from '../../crypto/ed25519';
import { isApproved } from '../../crypto/fips';
import type { Profile } from '../../crypto/fips';
import type { PreviousFormat } from '../../import/previous-format';
import type { KeyTableAnchor } from '../../keys/anchor/anchor-state';
import { scheduleProblem } from '../../keys/policy/key-policy';
import type { KeyPolicy } from '../../keys/policy/key-policy';
import type { ReportSigner } from '../../keys/signing/report-signer';
import type { KmsProvider } from '../../kms/kms-provider';

import { optionProblems } from './option-rules';

/** `Entity.property`, of any depth. */
export const PROPERTY_NAME = /^[^.]+\../;

class AuditRules {
  @IsOptional() actor?: unknown;
  @IsOptional() sink?: unknown;
  @IsOptional() @IsIn(['block', 'warn']) onFailure?: unknown;
}

/** Returns what is wrong with the option `audit`. */
export function auditProblem(audit: AuditOptions | false): string | undefined {
  if (audit === false) return undefined;
  if (typeof audit !== 'object') return 'audit must be an object or false';
  const { actor, sink } = audit;
  if (!['undefined', 'string', 'function'].includes(typeof actor)) {
    return 'audit.actor must be a string or a function';
  }
  if (!['undefined', 'function'].includes(typeof sink)) return 'audit.sink must be a function';
  const problem = optionProblems(AuditRules, audit);
  return problem === undefined ? undefined : `audit: ${problem}`;
}

/** Returns what the option `profile` refuses: of other options, and of providers. */
export function profileProblem(
  {
    profile,
    suite = 'xaes-256-gcm',
    nonces,
  }: { profile?: Profile | undefined; suite?: string; nonces?: string },
  providers: readonly (Partial<KmsProvider> | undefined)[],
): string | undefined {
  const kms = providers.find((provider) => provider?.unapproved !== undefined);
  const refused = [
    ...(isApproved(suite) ? [] : [`suite ${suite}: leave it out`]),
    // SP 800-38D, section 8.2.2, takes them from the generator as they are.
    ...(nonces === 'hedged' ? ['hedged nonces: leave "nonces" out'] : []),
    ...(kms
      ? [`${String(kms.unapproved)} of kms "${String(kms.name)}": use a KMS, an HSM or a key file`]
      : []),
  ];
  return profile && refused[0] && `profile '${profile}' refuses ${refused[0]}`;
}

/** Returns what is wrong with the option `anchor`. */
export function anchorProblem({
  anchor,
  audit,
}: {
  readonly anchor?: KeyTableAnchor;
  readonly audit?: AuditOptions | false;
}): string | undefined {
  if (anchor === undefined) return undefined;
  const { read, write } = anchor as Partial<KeyTableAnchor>;
  if (typeof read !== 'function' || typeof write !== 'function') {
    return "anchor must be a KeyTableAnchor, such as fileAnchor('/var/lib/clinic/anchor')";
  }
  return audit === false ? 'anchor needs the audit log, whose key seals it' : undefined;
}

class AccessRules {
  @IsOptional() levelOf?: unknown;
}

/** Returns what is wrong with the option `access`. */
export function accessProblem({ access }: { readonly access?: AccessOptions }): string | undefined {
  if (access === undefined) return undefined;
  if (typeof access.levelOf !== 'function') return 'access must be { levelOf: (actor) => level }';
  const problem = optionProblems(AccessRules, access);
  return problem === undefined ? undefined : `access: ${problem}`;
}

class AccessLogRules {
  @IsOptional() sink?: unknown;
}

/** Returns what is wrong with the option `accessLog`. */
export function accessLogProblem({
  accessLog,
  audit,
}: {
  readonly accessLog?: AccessLogOptions;
  readonly audit?: AuditOptions | false;
}): string | undefined {
  if (accessLog === undefined) return undefined;
  const problem = optionProblems(AccessLogRules, accessLog);
  if (problem !== undefined) return `accessLog: ${problem}`;
  if (typeof accessLog.sink === 'function') return undefined;
  if ((accessLog.sink as unknown) !== undefined) return 'accessLog.sink must be a function';
  return audit === false
    ? 'accessLog needs the audit log, whose key seals the table, or a sink of its own'
    : undefined;
}

/** Returns what is wrong with the option `signer`. */
export function signerProblem({ signer }: { readonly signer?: ReportSigner }): string | undefined {
  if (signer === undefined) return undefined;
  const { publicKey, sign } = signer as Partial<ReportSigner>;
  const isKey = publicKey instanceof Uint8Array && publicKey.length === ED25519_PUBLIC_KEY_BYTES;
  return isKey && typeof sign === 'function'
    ? undefined
    : 'signer must be { publicKey: the 32 bytes of an Ed25519 key, sign: (data) => its signature }';
}

/** Returns what is wrong with the option `approvals`. */
export function approvalsProblem({
  approvals,
  audit,
}: {
  readonly approvals?: ApprovalPolicy;
  readonly audit?: AuditOptions | false;
}): string | undefined {
  if (approvals === undefined) return undefined;
  if (audit === false) return 'approvals needs the audit log, which proves its policy';
  try {
    checkedPolicy(approvals);
    return undefined;
  } catch (error) {
    return `approvals has ${error instanceof RangeError ? error.message : 'the wrong form'}`;
  }
}

/** Returns what is wrong with an entry of the option `previousFormats`. */
export function previousFormatProblem([name, format]: [string, Partial<PreviousFormat>]):
  string | undefined {
  if (!PROPERTY_NAME.test(name)) {
    return "previousFormats has a key that is not 'Entity.property'";
  }
  const decrypts = ['decrypt', 'decryptAll'] as const;
  const isFormat =
    typeof (format as Partial<PreviousFormat> | null)?.recognises === 'function' &&
    decrypts.some((method) => typeof (format as Record<string, unknown>)[method] === 'function');
  if (isFormat) return undefined;
  return `previousFormats: the value of ${name} must be a PreviousFormat, such as cloakFormat({ keys })`;
}

class KeyPolicyRules {
  @IsOptional() @IsString() @Length(1, 128) owner?: unknown;
  @IsOptional() @IsString() @Length(1, 32) securityLevel?: unknown;
  @IsOptional() @IsNumber() @IsPositive() cryptoperiodDays?: unknown;
  @IsOptional() @IsObject() rotation?: unknown;
  @IsOptional() @IsObject() retention?: unknown;
}

/** Returns what is wrong with an entry of the option `keyPolicies`. */
export function keyPolicyProblem([name, policy]: [string, KeyPolicy]): string | undefined {
  const problem = optionProblems(KeyPolicyRules, policy) ?? scheduleProblem(policy);
  return problem === undefined ? undefined : `keyPolicies.${name}: ${problem}`;
}
