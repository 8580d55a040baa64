import type { DataSource, QueryRunner } from 'typeorm';

import { NoAnswerError, within } from '../../async/time-limit';
import type { AuditEvent } from '../../audit/audit-entry';
import { FieldEncryptionError } from '../../errors';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { KeyManager } from '../../keys/key-manager';
import { recordedAcrossScopes } from '../../keys/scopes/scope-context';
import { giveBack } from '../connection/lent-connection';
import { soleConnection } from '../connection/sole-connection';

/** The part of an `Installation` that is used. */
interface Recorder {
  readonly dataSource: DataSource;
  readonly keys: KeyManager<QueryRunner>;
  readonly audit: KeyAudit<QueryRunner>;
}

const ACROSS_SCOPES: AuditEvent = { operation: 'allScopes', outcome: 'done' };

/**
 * Records in the audit log that the work at hand goes across scopes, before its first row goes on. In a transaction,
 * which may hold the last connection, the entry takes another, and is only waited for briefly.
 *
 * @returns undefined for work that needs no entry
 * @throws (by rejection) what the log refuses the entry with
 */
export function recordAcrossScopes(
  recorder: Recorder,
  queryRunner: QueryRunner | undefined,
): Promise<void> | undefined {
  return recordedAcrossScopes(recorder, () =>
    giveBack(queryRunner) ? recorder.audit.record(ACROSS_SCOPES) : recordBeside(recorder),
  );
}

async function recordBeside({ audit, dataSource, keys }: Recorder): Promise<void> {
  if (soleConnection(dataSource) !== undefined) {
    // There is no other connection before the transaction has ended.
    void audit.note(ACROSS_SCOPES);
    return;
  }
  const recording = audit.record(ACROSS_SCOPES);
  try {
    await within(keys.cachePolicy.transactionWaitMs, recording);
  } catch (error) {
    if (!(error instanceof NoAnswerError)) throw error;
    recording.catch((late: unknown) => {
      const code = late instanceof FieldEncryptionError ? late.code : 'ERR_AUDIT';
      keys.tell({ type: 'auditFailed', operation: 'allScopes', keyId: undefined, code });
    });
  }
}
