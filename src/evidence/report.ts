import type { AuditReport } from '../keys/audit/audit-report';
import type { KeyInfo } from '../keys/record/key-info';
import type { ScopeCount } from '../keys/scopes/scope-key-store';
import type { OperatorTask } from '../doctor/operator-task';
import type { ApprovalState } from '../doctor/approval-state';

import type { ColumnEvidence, UnencryptedColumn, UnmappedEvidence } from './column-evidence';
import type { Plain } from './plain';

/**
 * The state of the encryption of a DataSource at one time, as data: equal to what is read back from its JSON. Contains
 * names, ids, dates, counts and SQL; no value, no token, no ciphertext and no key. Published as a JSON Schema in
 * docs/report-v1.schema.json.
 */
export interface EvidenceReport {
  readonly version: 1;
  readonly application: string;
  /** When it was collected, ISO 8601, UTC. Rows, keys and logs are of one snapshot, taken then. */
  readonly time: string;
  readonly database: DatabaseEvidence;
  readonly versions: VersionEvidence;
  readonly suites: readonly SuiteEvidence[];
  /** Encrypted columns, by table. */
  readonly columns: readonly ColumnEvidence[];
  /** Text columns of the entities that are not encrypted, so that omissions show. */
  readonly unencrypted: readonly UnencryptedColumn[];
  /** Text columns that no entity maps and that hold ciphertexts. */
  readonly unmapped: UnmappedEvidence;
  /** Keys of every purpose, by purpose, name and version. */
  readonly keys: readonly KeyEvidence[];
  /** Scopes with keys of their own, by kind and state. */
  readonly scopes: ScopeEvidence;
  readonly keks: readonly KekEvidence[];
  readonly providers: readonly ProviderEvidence[];
  /** Policies of the data keys, by name. */
  readonly policies: readonly PolicyEvidence[];
  /** What an operator has to do, most urgent first, as `status` lists it. */
  readonly due: readonly Plain<OperatorTask>[];
  readonly approvals: Plain<ApprovalState>;
  readonly audit: AuditEvidence;
  readonly access: AccessEvidence;
  /** The last backups and drills that the audit log knows, at most 100 of each, oldest first. */
  readonly backups: readonly BackupEvidence[];
  readonly drills: readonly DrillEvidence[];
  readonly notChecked: readonly NotChecked[];
  /** The rules that were applied, and how many findings each has among `violations`. */
  readonly rules: readonly RuleEvidence[];
  readonly violations: readonly Violation[];
}

export interface DatabaseEvidence {
  /** For people, such as `PostgreSQL`. */
  readonly name: string;
  readonly serverVersion: string;
  readonly sql: string;
  /** The statements that began the transaction. */
  readonly snapshot: readonly string[];
}

export interface VersionEvidence {
  readonly library: string;
  readonly typeorm: string;
  readonly node: string;
  readonly openssl: string;
  /** What encrypts values. */
  readonly backend: 'native' | 'javascript';
  /** Whether OpenSSL is in FIPS mode, as it says itself. */
  readonly fips: boolean;
}

/** A cipher suite, or the MAC of index roots and logs, and which keys are of it. */
export interface SuiteEvidence {
  readonly suite: string;
  /** Such as `AES-256-GCM with derived keys (XAES-256-GCM)`. */
  readonly algorithm: string;
  readonly keyBits: number;
  /** `null` for a MAC. */
  readonly nonceBits: number | null;
  readonly tagBits: number;
  /** Whether data keys are made for it now. */
  readonly current: boolean;
  readonly keyIds: readonly string[];
}

export interface KeyEvidence extends Omit<Plain<KeyInfo>, 'createdAt'> {
  /** `null` in a row that cannot be read, which the audit log tells of. */
  readonly createdAt: string | null;
  /** Changes of its state in the order of the audit log, the last 100. */
  readonly history: readonly {
    readonly seq: number;
    readonly time: string;
    readonly actor: string;
    readonly operation: string;
    readonly state: string;
  }[];
}

export interface ScopeEvidence {
  /** Yields the counts; `null` where no column has keys of scopes. */
  readonly sql: string | null;
  readonly counts: readonly Plain<ScopeCount>[];
}

/** A key-encryption key that wraps keys which are not destroyed. */
export interface KekEvidence {
  /** Name of the provider. */
  readonly kms: string;
  /** The key and its version, in the provider's own terms. */
  readonly kek: string;
  /** How many keys it wraps. */
  readonly keys: number;
  readonly sql: string;
}

/** A KMS provider of the configuration; of a failover, its members follow it. */
export interface ProviderEvidence {
  readonly kms: string;
  readonly ok: boolean;
  readonly detail: string | null;
  /** Version and age of the key-encryption key that wraps now; `null` where the provider does not tell. */
  readonly kekVersion: string | null;
  readonly kekCreatedAt: string | null;
  readonly kekAgeDays: number | null;
}

/** The policy of a data key. Functions in it are left out. */
export interface PolicyEvidence {
  readonly keyName: string;
  readonly owner: string | null;
  readonly securityLevel: string | null;
  readonly cryptoperiodDays: number | null;
  /** Such as `{ kind: 'periodic', everyDays: 90 }`. */
  readonly rotation: Readonly<Record<string, string | number>> & { readonly kind: string };
  readonly retention: Readonly<Record<string, string | number>> & { readonly kind: string };
  /** Whether the configuration has one for this name, or for `'*'`. */
  readonly configured: boolean;
}

/** The verified chain of the audit log, and operations by actor as far as it is unbroken. */
export interface AuditEvidence extends Plain<AuditReport> {
  /** Whether operations are recorded. */
  readonly kept: boolean;
  /** The proof that the tree contains that of an earlier note, in base64; `null` without one. */
  readonly consistency: { readonly from: number; readonly proof: readonly string[] } | null;
  readonly sql: string;
  /** At most 1,000, the others counted together as the actor `null`. */
  readonly operations: readonly {
    readonly actor: string | null;
    readonly operation: string;
    readonly outcome: string;
    readonly count: number;
    readonly last: string;
  }[];
}

export interface AccessEvidence {
  /** Whether uses of values are recorded in the table, handed to a sink, or not recorded. */
  readonly kept: 'table' | 'sink' | 'none';
  /** Whether the table that they are to be recorded in is not in the database. */
  readonly missing: boolean;
  /** Yields `uses`; `null` where they were not counted. */
  readonly sql: string | null;
  /** At most 1,000, those of most values. */
  readonly uses: readonly {
    readonly actor: string | null;
    readonly operation: string;
    readonly entity: string;
    readonly property: string;
    readonly values: number;
    readonly first: string;
    readonly last: string;
  }[];
}

export interface BackupEvidence {
  readonly seq: number;
  readonly time: string;
  readonly actor: string;
  readonly backupId: string | null;
  readonly keys: number | null;
}

/** The restoration of a backup into memory, by which rows were read. */
export interface DrillEvidence extends BackupEvidence {
  readonly ok: boolean;
  /** Recovery point: how old the last backup was then; `null` if the log knows none. */
  readonly rpoMs: number | null;
  /** Recovery time: how long the restoration and the reads took; `null` in entries of earlier versions. */
  readonly rtoMs: number | null;
}

/** What the report says nothing about, and why. */
export interface NotChecked {
  readonly subject: string;
  readonly reason: string;
}

export type Severity = 'high' | 'medium' | 'low';

export interface RuleEvidence {
  readonly id: string;
  readonly title: string;
  readonly severity: Severity;
  /** The requirements that it serves, such as `PCI DSS 4.0.1 3.7.4`. It does not prove that they are met. */
  readonly controls: readonly string[];
  readonly shows: string;
  readonly doesNotShow: string;
  readonly findings: number;
}

/** A finding of a rule. */
export interface Violation {
  /** The id of the rule. */
  readonly rule: string;
  readonly severity: Severity;
  readonly controls: readonly string[];
  /** The column, key or other thing that it is about. */
  readonly subject: string;
  readonly message: string;
  readonly remedy: string;
}
