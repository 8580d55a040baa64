import type { AuditOperation } from '../../audit/audit-entry';
import type { FieldEncryptionErrorCode } from '../../errors';
import type { KeyPurpose } from './key-record';

/** What happened to the keys, for metrics and audit. Carries ids and names only. */
export type KeyEvent =
  | {
      /** The first version of a key was created by this process. */
      readonly type: 'keyCreated';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
    }
  | {
      /** This process replaced the active version of a key. */
      readonly type: 'keyRotated';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
      readonly previousKeyId: string;
    }
  | {
      /** This process made the next version of a key, which nobody writes with yet. */
      readonly type: 'keyAnnounced';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
    }
  | {
      /** This process wrapped a key again, for one that was adopted on somebody's word. */
      readonly type: 'keyRewrapped' | 'keyAdopted';
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
      /** Name of the provider that holds its KEK now. */
      readonly kms: string;
    }
  | {
      /** This process marked a key as compromised, erased, suspended, or resumed one. */
      readonly type: 'keyRevoked' | 'keyDestroyed' | 'keySuspended' | 'keyResumed';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
    }
  | {
      /** An operation on keys went on although it could not be recorded, or its entry not be shipped. */
      readonly type: 'auditFailed';
      readonly operation: AuditOperation;
      readonly keyId: string | undefined;
      readonly code: FieldEncryptionErrorCode;
    }
  | {
      /** The anchor was empty, and was written with the key table as it is. */
      readonly type: 'anchorBegun';
      readonly epoch: number;
    }
  | {
      /** The anchor could not be written; it is behind the key table until it is. */
      readonly type: 'anchorFailed';
      readonly code: FieldEncryptionErrorCode | undefined;
    }
  | {
      /** The anchor knows newer rows of these keys than the key table has. Older ones are refused. */
      readonly type: 'keyTableOlder';
      readonly keyIds: readonly string[];
    }
  | {
      /** No `application` is configured: applications that share a KEK accept each other's keys. */
      readonly type: 'applicationNotNamed';
    }
  | {
      /** `initialize()` went on without keys that this DataSource needs; `ready()` rejects until they are there. */
      readonly type: 'notReady';
      readonly code: FieldEncryptionErrorCode;
      /** What stands in the way, in the words of the error. */
      readonly message: string;
    }
  | {
      /** What keys have encrypted could not be added to the key table; told of once until it can. */
      readonly type: 'useCountFailed';
      readonly keyId: string;
      /** Unknown for what the database threw. */
      readonly code: FieldEncryptionErrorCode | undefined;
    }
  | {
      /** A key could not be taken from the table or the KMS; cached ones serve until their maximum age. */
      readonly type: 'keyLoadFailed';
      readonly purpose: KeyPurpose;
      /** Unknown where the failure came before the record was read. */
      readonly keyId: string | undefined;
      readonly keyName: string | undefined;
      /** Unknown for what the database threw. */
      readonly code: FieldEncryptionErrorCode | undefined;
    };

/** Receives key events. What it throws is ignored: an observer must not stop an operation. */
export type KeyEventListener = (event: KeyEvent) => void;
