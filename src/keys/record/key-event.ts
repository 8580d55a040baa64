import type { AuditOperation, AuditOutcome } from '../../audit/audit-entry';
import type { FieldEncryptionErrorCode } from '../../errors';
import type { TelemetryMessage } from '../../telemetry/channels';

import type { KeyPurpose } from './key-record';

/** An event in the life of keys, for metrics and audit. Carries ids and names only. */
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
      /** This process created the next version of a key, which nobody writes with yet. */
      readonly type: 'keyAnnounced';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
    }
  | {
      /** This process wrapped a key again, or adopted one on its operator's word. */
      readonly type: 'keyRewrapped' | 'keyAdopted';
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
      /** Name of the provider that holds its KEK now. */
      readonly kms: string;
    }
  | {
      /** This process marked a key as compromised, erased it, suspended it, or resumed it. */
      readonly type: 'keyRevoked' | 'keyDestroyed' | 'keySuspended' | 'keyResumed';
      readonly purpose: KeyPurpose;
      readonly keyId: string;
      readonly keyName: string;
      readonly version: number;
    }
  | {
      /**
       * An incident was opened, by the kind of what is compromised, or a step of it was taken. Who depends on the keys
       * looks whether it needs to do something, and acknowledges: `incidents.acknowledge`.
       */
      readonly type: 'incident';
      readonly incident: string;
      /** `key`, `kek` or `branch` when it is opened; then the step, or `dependant` for an acknowledgement. */
      readonly subject: string;
      /**
       * Id of the key that the step is about, or the dependant; the reason when it is opened; where a step is
       * `interrupted`, what it waits for, and where it `failed`, the code of the error.
       */
      readonly name: string;
      readonly outcome: AuditOutcome;
    }
  | {
      /** An operation on keys went on although it could not be recorded, or its entry not shipped. */
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
      /** The anchor could not be written, and is behind the key table until it is. */
      readonly type: 'anchorFailed';
      readonly code: FieldEncryptionErrorCode | undefined;
    }
  | {
      /** The anchor knows newer rows of these keys than those in the key table, which are refused. */
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
      /** The message of the error. */
      readonly message: string;
    }
  | {
      /** The counted uses of keys could not be added to the key table. Emitted once until they can. */
      readonly type: 'useCountFailed';
      readonly keyId: string;
      /** Undefined for an error of the database. */
      readonly code: FieldEncryptionErrorCode | undefined;
    }
  | {
      /** Entries of the access log could not be written, or uses of values were lost. Repeated every minute. */
      readonly type: 'accessLogFailed';
      /** Where they are written to. */
      readonly target: 'table' | 'sink';
      /** Undefined for an error of the database or the sink, and where uses were lost before. */
      readonly code: FieldEncryptionErrorCode | undefined;
      /** The message of that error; undefined where uses were lost before. */
      readonly message: string | undefined;
      /** Entries that wait to be written. */
      readonly waiting: number;
      /** Values whose uses are in no entry, since the last event. */
      readonly dropped: number;
    }
  | {
      /** A key could not be loaded from the table or the KMS; cached keys serve until their maximum age. */
      readonly type: 'keyLoadFailed';
      readonly purpose: KeyPurpose;
      /** Undefined where the failure came before the record was read. */
      readonly keyId: string | undefined;
      readonly keyName: string | undefined;
      /** Undefined for an error of the database. */
      readonly code: FieldEncryptionErrorCode | undefined;
    };

/** Receives key events. Its errors are ignored: an observer must not stop an operation. */
export type KeyEventListener = (event: KeyEvent) => void;

/** A message about an event in the life of keys. */
export interface KeyEventMessage extends TelemetryMessage {
  readonly event: KeyEvent;
}
