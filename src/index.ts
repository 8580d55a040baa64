export type { AuditEntry, AuditOptions, AuditRange } from './audit/audit-entry';
export type { AuditProblem, BrokenEntry } from './audit/audit-verification';
export type { AuditTrail, AuditVerifyOptions } from './audit-trail';
export type { CipherSuite } from './crypto/aead';
export type { Profile } from './crypto/fips';
export type { DataKeys } from './data-keys';
export type { EncryptionStatus } from './doctor/encryption-state';
export type { OperatorTask } from './doctor/operator-task';
export type { Finding, FindingCode, FindingLevel } from './doctor/finding';
export * from './errors';
export { RateLimitedError } from './access/rate-limited-error';
export { verifyEvidence } from './evidence/verify-evidence';
export type {
  EvidenceCheck,
  EvidenceToVerify,
  EvidenceVerification,
} from './evidence/verify-evidence';
export type { SignatureContext } from './evidence/document-signature';
export { fieldEncryption } from './field-encryption';
export type { Approvals, PolicyChange, RequestInfo } from './approvals';
export type { ApprovableOperation, ApprovalPolicy, Approver } from './approvals/approval-policy';
export type { FieldEncryption } from './field-encryption';
export type { IncidentProgress, Incidents, IncidentTarget } from './incidents';
export { IncidentLedError } from './incident/incident-led-error';
export type { IncidentDrill } from './incident/drill';
export type { IncidentKind, IncidentStep } from './incident/incident-log';
export type { IncidentReport } from './incident/incident-report';
export type { RowsAtRisk } from './incident/risk';
export type { IncidentOptions, IncidentWait, PlannedStep, WaitCause } from './incident/response';
export type { PurposeOptions, PurposeValues } from './purpose-values';
export type { ValueOptions, ValuesOptions } from './stored-values';
export type { Normalizer } from './field/normalizer';
export { Sealed } from './field/sealed';
export type { RevealOptions } from './field/sealed';
export type {
  HealthOptions,
  HealthReport,
  HealthStatus,
  KeyHealth,
  TableHealth,
} from './health/health-report';
export type { PreviousFormat } from './import/previous-format';
export type { BackupOpener, BackupProtection } from './keys/backup/backup-key';
export type { FailedStep, UpkeepOptions, UpkeepReport } from './key-upkeep';
export { fileAnchor } from './keys/anchor/file-anchor';
export type { AnchorDiscrepancy } from './keys/anchor/anchor-discrepancy';
export type { KeyTableAnchor } from './keys/anchor/anchor-state';
export type { AcceptEpochOptions, AcceptEpochReport } from './keys/audit/accept-epoch';
export type { KeyBackup } from './keys/backup/create-backup';
export type { RestoredKey, RestoreOptions, RestoreReport } from './keys/backup/restore-backup';
export type { AuditReport, KeyDiscrepancy } from './keys/audit/audit-report';
export type { UnprovenKey } from './keys/wrapping/row-proofs';
export type { KeyEvent, KeyEventMessage } from './keys/record/key-event';
export type { IndexRotation, IndexRotationOptions } from './keys/lifecycle/index-rotation';
export type { PublicSigningKey } from './signing-keys';
export type { ReportSigner } from './keys/signing/report-signer';
export type { SigningKeyName } from './keys/signing/signing-keys';
export type { TreeHead } from './audit/merkle-tree';
export type { KeyInfo } from './keys/record/key-info';
export type {
  MaintenanceFailure,
  MaintenanceOptions,
  MaintenanceReport,
  ScopeRotation,
  ScopeRotationFailure,
} from './keys/lifecycle/maintenance-report';
export type { AdoptionReport } from './keys/lifecycle/key-adoption';
export type { DestroyedKey, DestroyOptions } from './keys/lifecycle/key-destruction';
export type { RevocationReport, RevokedKey, RevokeOptions } from './keys/lifecycle/key-revocation';
export type { KeyPolicy } from './keys/policy/key-policy';
export type { KeyStatistics } from './keys/policy/key-statistics';
export { policyFor } from './keys/policy/policy-presets';
export type { SecurityLevel } from './keys/policy/policy-presets';
export type { ColumnUse } from './keys/lifecycle/encrypted-rows';
export type { RewrapFailure, RewrapOptions, RewrapReport } from './keys/lifecycle/key-rewrap';
export type { MaintenanceSchedule, ScheduleOptions } from './keys/lifecycle/maintenance-schedule';
export type { RetentionPolicy } from './keys/policy/retention-policy';
export type { RotationPolicy } from './keys/policy/rotation-policy';
export type { KeyState } from './keys/record/key-state';
export type {
  KeyBinding,
  KmsHealth,
  KmsProvider,
  NamedKmsHealth,
  WrappedKey,
} from './kms/kms-provider';
export type { Scope } from './keys/record/scope';
export { ALL_SCOPES, withKeyScope } from './keys/scopes/scope-context';
export type { ScopeIds, ScopeIdValue } from './keys/scopes/scope-context';
export type { ScopeCount } from './keys/scopes/scope-key-store';
export type { ErasedRows, ErasureReceipt } from './keys/scopes/erasure/erasure-receipt';
export type { ReplayReport, ReplayTrust } from './keys/scopes/erasure/erasure-replay';
export type { Erasure, ErasureOptions } from './keys/scopes/erasure/scope-erasure';
export type { ResealFailure, ResealReport } from './keys/scopes/scope-resealing';
export type {
  ReplayOptions,
  RotateScopesOptions,
  ScopeReason,
  ShredOptions,
} from './scope-options';
export { KeyScope, keyScopeColumn } from './typeorm/declare/key-scope';
export type { KeyScopeOptions } from './typeorm/declare/key-scope';
export type { ApprovalState } from './doctor/approval-state';
export type { ReportOptions } from './evidence/collect-report';
export type { EvidenceOptions, WrittenEvidence } from './evidence/write-evidence';
export type * from './evidence/column-evidence';
export type { Plain } from './evidence/plain';
export type * from './evidence/report';
export type { Rule, RuleFinding } from './evidence/rules/rule';
export type { AccessReport, AccessTrail } from './access-trail';
export type { BrokenAccess } from './access/access-chain';
export type {
  AccessEntry,
  AccessLogOptions,
  AccessOperation,
  AccessRange,
} from './access/access-entry';
export type { GuardLimit, GuardOptions } from './access/guard-options';
export type { AccessLevel, AccessOptions } from './access/access-level';
export { runAs } from './audit/actor';
export type { Actor } from './audit/actor';
export { localKms } from './kms/local-kms';
export type { LocalKmsOptions } from './kms/local-kms';
export type { DrillReport, DrillResult } from './reencryption/coverage/drill';
export type { RunOptions } from './reencryption/report/run-options';
export type {
  RowFailure,
  RowFailureCode,
  RunMode,
  RunPlan,
  RunProgress,
  RunReport,
  TablePlan,
} from './reencryption/report/run-report';
export type { IndexStatus } from './reencryption/coverage/index-status';
export type {
  ScopeColumnStatus,
  ScopeKeyInfo,
  ScopeStatus,
} from './reencryption/coverage/scope-status';
export type { ColumnStatus, KeyCoverage, ScopeCoverage } from './reencryption/coverage/status';
export type {
  FailureMessage,
  GuardLevel,
  GuardMessage,
  KeyCacheMessage,
  KeyLoadMessage,
  KmsMessage,
  RevealMessage,
  RunMessage,
  RunProgressMessage,
  TelemetryMessage,
  ValuesMessage,
  WorkMessage,
} from './telemetry/channels';
export type {
  BlindIndexDefinition,
  BlindIndexOptions,
  EncryptedOptions,
  EncryptedType,
} from './typeorm/declare/column-options';
export { BlindIndex, Encrypted } from './typeorm/decorators';
export { blindIndexColumns, encryptedColumn } from './typeorm/entity-schema';
export type { SortedOptions } from './typeorm/query/sorting/sorted-entities';
export type { TextCollator } from './typeorm/query/sorting/sort-rows';
export type { FieldEncryptionOptions } from './typeorm/declare/field-encryption-options';
export { FieldEncryptionSubscriber } from './typeorm/patches/subscriber';
export { withFieldEncryption } from './typeorm/with-field-encryption';
export { fieldEncryptionMigrations } from '../migrations';
export type { ValueFailure, ValueResults } from './value-results';
