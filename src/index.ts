export type { AuditEntry } from './audit/audit-entry';
export type { AuditOptions } from './audit/audit-options';
export type { AuditProblem, BrokenEntry } from './audit/audit-verification';
export type { AuditTrail, AuditVerifyOptions } from './audit-trail';
export type { CipherSuite } from './crypto/aead';
export type { DataKeys, DestroyOptions, RevocationReport } from './data-keys';
export type { Finding, FindingCode, FindingLevel } from './doctor/finding';
export * from './errors';
export { fieldEncryption } from './field-encryption';
export type { FieldEncryption, ValueOptions } from './field-encryption';
export type { Normalizer } from './field/normalizer';
export type {
  HealthOptions,
  HealthReport,
  HealthStatus,
  KeyHealth,
  TableHealth,
} from './health/health-report';
export type { PreviousFormat } from './import/previous-format';
export type { BackupOpener, BackupProtection } from './keys/backup/backup-key';
export { fileAnchor } from './keys/anchor/file-anchor';
export type { AnchorDiscrepancy } from './keys/anchor/key-anchor';
export type { KeyTableAnchor } from './keys/anchor/key-table-anchor';
export type { AcceptEpochOptions, AcceptEpochReport } from './keys/accept-epoch';
export type { KeyBackup } from './keys/backup/create-backup';
export type { RestoredKey, RestoreOptions, RestoreReport } from './keys/backup/restore-backup';
export type { AuditRange, AuditReport, KeyDiscrepancy } from './keys/key-audit';
export type { UnprovenKey } from './keys/unproven-keys';
export type { KeyEvent } from './keys/key-event';
export type { IndexRotation, IndexRotationOptions } from './keys/index-rotation';
export type { KeyInfo } from './keys/key-info';
export type {
  MaintenanceFailure,
  MaintenanceOptions,
  MaintenanceReport,
} from './keys/key-maintenance';
export type {
  AdoptionReport,
  DestroyedKey,
  RevokedKey,
  RevokeOptions,
} from './keys/key-operations';
export type { KeyPolicy } from './keys/key-policy';
export type { ColumnUse } from './keys/key-retirement';
export type { RewrapFailure, RewrapOptions, RewrapReport } from './keys/key-rewrap';
export type { MaintenanceSchedule, ScheduleOptions } from './keys/maintenance-schedule';
export type { RetentionPolicy } from './keys/retention-policy';
export type { RotationPolicy } from './keys/rotation-policy';
export type { KeyState } from './keys/key-state';
export type {
  KeyBinding,
  KmsHealth,
  KmsProvider,
  NamedKmsHealth,
  WrappedKey,
} from './kms/kms-provider';
export { localKms } from './kms/local-kms';
export type { LocalKmsOptions } from './kms/local-kms';
export type { DrillReport, DrillResult } from './reencryption/drill';
export type { RunMode } from './reencryption/run-mode';
export type { RunOptions } from './reencryption/run-options';
export type { RunPlan, TablePlan } from './reencryption/run-plan';
export type { RowFailure, RowFailureCode, RunProgress, RunReport } from './reencryption/run-report';
export type { ColumnStatus, EncryptionStatus, KeyCoverage } from './reencryption/status';
export type {
  BlindIndexDefinition,
  BlindIndexOptions,
  EncryptedOptions,
  EncryptedType,
} from './typeorm/column-options';
export { BlindIndex, Encrypted } from './typeorm/decorators';
export { blindIndexColumns, encryptedColumn } from './typeorm/entity-schema';
export type { FieldEncryptionOptions } from './typeorm/field-encryption-options';
export { FieldEncryptionSubscriber } from './typeorm/subscriber';
export { withFieldEncryption } from './typeorm/with-field-encryption';
export { fieldEncryptionMigrations } from '../migrations';
export type { ValueFailure, ValueResults } from './value-results';
