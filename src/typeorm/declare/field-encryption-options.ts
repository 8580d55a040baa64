import {
  IsArray,
  IsBoolean,
  IsDefined,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Length,
  Matches,
  Min,
} from 'class-validator';

import type { AccessLogOptions } from '../../access/access-entry';
import type { AccessOptions } from '../../access/access-level';
import { guardProblem } from '../../access/guard-options';
import type { GuardOptions } from '../../access/guard-options';
import { checkedPolicy } from '../../approvals/approval-policy';
import type { ApprovalPolicy, CheckedPolicy } from '../../approvals/approval-policy';
import type { AuditOptions } from '../../audit/audit-entry';
import type { CipherSuite, NonceMode } from '../../crypto/aead';
import type { Profile } from '../../crypto/fips';
import { ConfigurationError } from '../../errors';
import type { PreviousFormat } from '../../import/previous-format';
import type { KeyTableAnchor } from '../../keys/anchor/anchor-state';
import type { KeyPolicy } from '../../keys/policy/key-policy';
import type { Scope } from '../../keys/record/scope';
import type { KeyEvent } from '../../keys/record/key-event';
import type { ReportSigner } from '../../keys/signing/report-signer';
import type { KmsProvider } from '../../kms/kms-provider';

import { checkedKmsOf, kmsProblem } from './kms-option';
import {
  accessLogProblem,
  accessProblem,
  approvalsProblem,
  auditProblem,
  anchorProblem,
  keyPolicyProblem,
  PROPERTY_NAME,
  previousFormatProblem,
  signerProblem,
  profileProblem,
} from './option-problems';
import { names, optionProblems } from './option-rules';
import type { ScopeOptions } from './scope-options';

/** Options of {@link withFieldEncryption}. */
export interface FieldEncryptionOptions extends ScopeOptions {
  /**
   * The provider that wraps the data keys; or a function that returns the provider of a scope, for tenants that
   * bring their own, and that of the common keys for `undefined`. It is called often, so keep the providers.
   */
  kms: KmsProvider | ((scope: Scope | undefined) => KmsProvider);
  /**
   * Further providers, which only unwrap what they have wrapped: the one that you are moving to or from, or that a
   * scope has left. Defaults to none.
   */
  otherKms?: readonly KmsProvider[];
  /**
   * Bound into every ciphertext, token and key, so that two applications cannot read each other's. Only a
   * name of your own separates them: without one, `initialize()` warns. Existing keys and values keep the
   * name that they were made under. Defaults to `'default'`.
   */
  application?: string;
  /** Cipher suite of data keys created from now on. Defaults to `'xaes-256-gcm'`. */
  suite?: CipherSuite;
  /**
   * `'fips-140-3'`: nothing is protected by what FIPS 140-3 does not approve, and `initialize()` refuses to start
   * where OpenSSL is not in FIPS mode. Values under other suites are read. See docs/assurance.md. Defaults to none.
   */
  profile?: Profile;
  /**
   * How the nonces of values are made. `'random'` relies on the system's generator not to repeat itself,
   * which it may if a process goes on in several copies: a virtual machine's snapshot that is started more
   * than once, a checkpoint (CRIU), functions started from the image of an initialized one. `'hedged'`
   * derives each nonce from random bytes and the message, so that copies repeat only that of an identical
   * message. Without the native add-on, encrypting a value then takes about half as long again with AES, and
   * twice as long or more with XChaCha20. The stored form is the same for readers. Defaults to `'hedged'` if
   * the add-on encrypts, and else, or with a `profile`, to `'random'`.
   */
  nonces?: NonceMode;
  /**
   * Whether to run the entity's class-validator rules on the plaintext of inserts and updates. A violation
   * is a {@link PlaintextValidationError}, and nothing is written. Like every TypeORM subscriber, it does not
   * see writes with `{ listeners: false }`. Defaults to `false`.
   */
  validate?: boolean;
  /** How long unwrapped keys stay in memory. */
  keyCache?: {
    /** Age in milliseconds from which a key is refreshed in the background. Defaults to 60,000. */
    ttlMs?: number;
    /** Age in milliseconds at which a key that could not be refreshed is forgotten. Defaults to 900,000. */
    maxAgeMs?: number;
    /**
     * Milliseconds for which a caller that holds a database connection, such as one in a transaction, waits
     * for the KMS. It then gets a retryable `KmsUnavailableError`, while the key goes on loading. Others wait
     * five times as long for the KMS of a scope. Defaults to 3,000.
     */
    transactionWaitMs?: number;
  };
  /** Policies of the data keys, by name; `'*'` for all names without their own. */
  keyPolicies?: Record<string, KeyPolicy>;
  /**
   * The time by which `keyPolicies` decide whether a key is due, expired or past its retention. Defaults to
   * the database's, which always determines dates in the key table and the waits that keep rows readable.
   */
  now?: () => Date;
  /** Properties (`'Entity.property'`) whose rows may still be cleartext, while they are being encrypted. */
  legacyPlaintext?: string[];
  /**
   * Properties (`'Entity.property'`) with `bindTo` whose rows may still hold values that are not bound to
   * them, until `data reencrypt` has moved these. Anyone who writes to the database can exchange such values
   * meanwhile. Defaults to none.
   */
  legacyUnbound?: string[];
  /**
   * The formats in which another library wrote rows of properties (`'Entity.property'`) that are not
   * converted yet. Such rows are read; all writes are encrypted by this library. Defaults to none.
   */
  previousFormats?: Record<string, PreviousFormat>;
  /**
   * How operations on keys are recorded in the audit log, which needs its table; `false` records nothing.
   * Defaults to `{}`.
   */
  audit?: AuditOptions | false;
  /**
   * Remembers outside the database how new the key table was, so that older rows are refused even after a
   * restart. Needs the audit log, whose key seals it. Defaults to none.
   */
  anchor?: KeyTableAnchor;
  /** Who may do what, by {@link runAs}. Without it, everybody may do everything. */
  access?: AccessOptions;
  /**
   * Counts who has used values of which property in each minute, and records them in the table
   * `field_encryption_access`, or hands them to a sink. Defaults to no such log.
   */
  accessLog?: AccessLogOptions;
  /** Notices, slows down or refuses unusual use of values, in this process. Defaults to no guard. */
  guard?: GuardOptions;
  /**
   * Which operations take more than one person. Has to be what `field-encryption approvals policy` has stored, which
   * is in force also where this is left out. Needs the audit log. Defaults to none.
   */
  approvals?: ApprovalPolicy;
  /** Others who share the keys, such as `billing-service`: who has to acknowledge an incident. Defaults to none. */
  dependants?: string[];
  /** Signs reports in place of a key of the key table, such as with an HSM. Defaults to none. */
  signer?: ReportSigner;
  /** Called for each event of the keys. Must not throw. */
  onEvent?: (event: KeyEvent) => void;
}

const wellFormed = Matches(/^\P{Cs}*$/u, { message: '$property has half a surrogate pair' });

class OptionRules {
  @IsDefined() kms?: unknown;
  @IsOptional() keyScope?: unknown;
  @IsOptional() @IsIn(['error', 'null']) onErased?: unknown;
  @IsOptional() @IsIn(['error', 'omit']) onUnavailable?: unknown;
  @IsOptional() @IsArray() otherKms?: unknown;
  @IsOptional() @IsString() @Length(1, 128) @wellFormed application?: unknown;
  @IsOptional() @IsIn(['xaes-256-gcm', 'xchacha20-poly1305', 'aes-256-gcm-siv']) suite?: unknown;
  @IsOptional() @IsIn(['fips-140-3']) profile?: unknown;
  @IsOptional() @IsIn(['random', 'hedged']) nonces?: unknown;
  @IsOptional() @IsBoolean() validate?: unknown;
  @IsOptional() @IsObject() keyCache?: unknown;
  @names(PROPERTY_NAME) legacyPlaintext?: unknown;
  @names(PROPERTY_NAME) legacyUnbound?: unknown;
  @names(PROPERTY_NAME) legacyScope?: unknown;
  @IsOptional() @IsObject() previousFormats?: unknown;
  @IsOptional() onEvent?: unknown;
  @IsOptional() @IsObject() keyPolicies?: unknown;
  @IsOptional() now?: unknown;
  @IsOptional() audit?: unknown;
  @IsOptional() @IsObject() anchor?: unknown;
  @IsOptional() @IsObject() access?: unknown;
  @IsOptional() @IsObject() accessLog?: unknown;
  @IsOptional() guard?: unknown;
  @IsOptional() @IsObject() approvals?: unknown;
  @names(/^[\w.:-]{1,64}$/) dependants?: unknown;
  @IsOptional() @IsObject() signer?: unknown;
}

class KeyCacheRules {
  @IsOptional() @IsInt() @Min(1) ttlMs?: unknown;
  @IsOptional() @IsInt() @Min(1) maxAgeMs?: unknown;
  @IsOptional() @IsInt() @Min(1) transactionWaitMs?: unknown;
}

/** The application of those who name none. */
const DEFAULT_APPLICATION = 'default';

/** The options as they are used: checked, frozen, and with the defaults that several places go by. */
export type CheckedOptions = Readonly<Omit<FieldEncryptionOptions, 'kms' | 'approvals'>> &
  Required<Pick<FieldEncryptionOptions, 'application' | 'suite'>> & {
    /** That of the common keys. */
    readonly kms: KmsProvider;
    /** That of a scope; undefined if all have the same. */
    readonly kmsOf: ((scope: Scope) => KmsProvider) | undefined;
    readonly approvals: CheckedPolicy | undefined;
  };

/** Checks the options and fills in the defaults. Throws {@link ConfigurationError}. */
export function checkedOptions(options: FieldEncryptionOptions): CheckedOptions {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null) {
    throw new ConfigurationError('withFieldEncryption: no options. It needs { kms } at least.');
  }
  const kms = typeof options.kms === 'function' ? options.kms(undefined) : options.kms;
  const problems = [
    optionProblems(OptionRules, options),
    optionProblems(KeyCacheRules, options.keyCache ?? {}),
    auditProblem(options.audit ?? {}),
    anchorProblem(options),
    accessProblem(options),
    accessLogProblem(options),
    guardProblem(options.guard ?? {}),
    approvalsProblem(options),
    signerProblem(options),
    kmsProblem('kms', kms),
    ...[options.otherKms ?? []].flat().map((kms) => kmsProblem('otherKms', kms)),
    profileProblem(options, [kms, ...[options.otherKms ?? []].flat()]),
    ...Object.entries(options.keyPolicies ?? {}).map(keyPolicyProblem),
    ...Object.entries(options.previousFormats ?? {}).map(previousFormatProblem),
    ...(['onEvent', 'now', 'keyScope'] as const).map((name) =>
      typeof (options[name] ?? Function) === 'function' ? undefined : `${name} must be a function`,
    ),
  ].find((problem) => problem !== undefined);
  if (problems !== undefined) {
    throw new ConfigurationError(`withFieldEncryption: ${problems}. See FieldEncryptionOptions.`);
  }
  const { application = DEFAULT_APPLICATION, suite = 'xaes-256-gcm' } = options;
  const kmsOf =
    typeof options.kms === 'function' ? checkedKmsOf(options.kms, options.profile) : undefined;
  const approvals = options.approvals && checkedPolicy(options.approvals);
  return Object.freeze({ ...options, application, suite, kms, kmsOf, approvals });
}

/**
 * Whether the application has a name of its own. Without one, only the KMS keeps its keys apart from those of
 * another application without a name: if both can use the KEK, each uses the other's.
 */
export function hasNamedApplication({ application }: Pick<CheckedOptions, 'application'>): boolean {
  return application !== DEFAULT_APPLICATION;
}
