import type { AuditEntry } from '../../audit/audit-entry';

/** The version of the schema that events are of (https://schema.ocsf.io/1.8.0/classes/entity_management). */
const SCHEMA_VERSION = '1.8.0';
const CATEGORY = 3;
const CLASS = 3004;

/** Activities of the class by operation; all others are updates. */
const ACTIVITIES: Readonly<Record<string, number>> = {
  create: 1,
  backup: 2,
  drill: 2,
  'access list': 2,
  destroy: 4,
  shred: 4,
  revoke: 9,
  activate: 10,
  deactivate: 11,
  suspend: 12,
  hold: 12,
  resume: 13,
  release: 13,
};
const UPDATE = 3;

const SUCCESS = 1;
const FAILURE = 2;
const OTHER = 99;
/** Outcomes that are neither a success nor a failure are named in `status`. */
const STATUSES: Readonly<Record<string, number>> = {
  done: SUCCESS,
  approved: SUCCESS,
  failed: FAILURE,
  denied: FAILURE,
};

const INFORMATIONAL = 1;
const MEDIUM = 3;

/** A product, as events name what they come from. */
export interface Product {
  readonly application: string;
  readonly version: string;
}

/** Returns an audit entry as an event of OCSF, class Entity Management, with the entry itself under `unmapped`. */
export function ocsfEvent(entry: AuditEntry, { application, version }: Product): object {
  const { operation, outcome, keyName, keyId, keyVersion } = entry;
  const activity = ACTIVITIES[operation] ?? UPDATE;
  const status = STATUSES[outcome] ?? OTHER;
  return {
    activity_id: activity,
    activity_name: operation,
    category_uid: CATEGORY,
    class_uid: CLASS,
    type_uid: CLASS * 100 + activity,
    severity_id: status === FAILURE ? MEDIUM : INFORMATIONAL,
    status_id: status,
    status: { [SUCCESS]: 'Success', [FAILURE]: 'Failure' }[status] ?? outcome,
    time: Date.parse(entry.time),
    message: `${operation}: ${outcome}`,
    actor: { user: { name: entry.actor } },
    entity: {
      type_id: OTHER,
      type: entry.keyPurpose ?? 'encrypted data',
      name: keyName ?? application,
      ...(keyId === null ? {} : { uid: keyId }),
      ...(keyVersion === null ? {} : { version: String(keyVersion) }),
    },
    metadata: {
      version: SCHEMA_VERSION,
      product: { vendor_name: 'typeorm-field-encryption', name: application, version },
      event_code: operation,
      log_name: 'audit log',
      sequence: entry.seq,
      original_time: entry.time,
      ...(entry.reference === null ? {} : { correlation_uid: entry.reference }),
    },
    unmapped: { entry },
  };
}
