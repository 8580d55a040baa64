import { FieldEncryptionError, KmsUnavailableError } from '../errors';
import type { FieldEncryptionErrorCode } from '../errors';
import type { KeyRecord } from './key-record';
import { requireProvenDates, takesAway } from './key-state-mac';
import type { KeyWrapper } from './key-wrapper';
import { settleAll } from './settle-all';

/** A key row that does not prove that the library wrote it, with the KMS. */
export interface UnprovenKey {
  readonly keyId: string;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** Keys unwrapped at a time. */
const CONCURRENCY = 4;

/**
 * Those of the keys that do not unwrap, whose row was edited, or that somebody without the KMS could
 * have made. What was destroyed is erased, and has nothing to prove.
 *
 * @throws {@link KmsUnavailableError} while nothing can be said, and what is no error of this library
 */
export async function unprovenKeys(
  wrapper: KeyWrapper,
  records: readonly KeyRecord[],
): Promise<UnprovenKey[]> {
  const unproven: UnprovenKey[] = [];
  const claims = records.filter(({ state, stateMac, wrapped }) =>
    state === 'destroyed' ? stateMac.length > 0 && wrapped.length > 0 : true,
  );
  await settleAll(claims, CONCURRENCY, async (record) => {
    try {
      const { authenticateState } = await wrapper.unwrap(record);
      if (takesAway(record.state)) requireProvenDates(record, authenticateState);
    } catch (error) {
      if (!(error instanceof FieldEncryptionError) || error instanceof KmsUnavailableError) {
        throw error;
      }
      unproven.push({ keyId: record.id, code: error.code, message: error.message });
    }
  });
  return unproven;
}
