import { FieldEncryptionError, KmsUnavailableError } from '../errors';
import type { FieldEncryptionErrorCode } from '../errors';
import type { KeyRecord } from './key-record';
import { requireProvenDates, takesAway } from './key-state-mac';
import type { KeyWrapper } from './key-wrapper';
import { settleAll } from './settle-all';

/** A key row that does not prove that the library wrote it, with the KMS, or that proved nothing yet. */
export interface UnprovenKey {
  readonly keyId: string;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** Keys unwrapped at a time. */
const CONCURRENCY = 4;

/** What was found out about the rows of keys. */
export interface RowFindings {
  /** Keys that do not unwrap, whose row was edited, or that somebody without the KMS could have made. */
  readonly unproven: readonly UnprovenKey[];
  /** Keys that the KMS failed on: of them nothing can be said now. */
  readonly undecided: readonly UnprovenKey[];
}

/**
 * Finds the rows of keys that do not prove themselves. What was destroyed is erased, and has nothing to
 * prove. A row that the KMS fails on, which somebody may have made for that, hides nothing of the others.
 *
 * @throws {@link KmsUnavailableError} where it fails on all of them, and what is no error of this library
 */
export async function proveRows(
  wrapper: KeyWrapper,
  records: readonly KeyRecord[],
): Promise<RowFindings> {
  const unproven: UnprovenKey[] = [];
  const outages: KmsUnavailableError[] = [];
  const undecided: UnprovenKey[] = [];
  const claims = records.filter(({ state, stateMac, wrapped }) =>
    state === 'destroyed' ? stateMac.length > 0 && wrapped.length > 0 : true,
  );
  await settleAll(claims, CONCURRENCY, async (record) => {
    try {
      const { authenticateState } = await wrapper.unwrap(record);
      if (takesAway(record.state)) requireProvenDates(record, authenticateState);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError)) throw error;
      const isOutage = error instanceof KmsUnavailableError;
      if (isOutage) outages.push(error);
      const { code, message } = error;
      (isOutage ? undecided : unproven).push({ keyId: record.id, code, message });
    }
  });
  const [outage] = outages;
  if (outage !== undefined && outages.length === claims.length) throw outage;
  return { unproven, undecided };
}
