import { settleAll } from '../../async/settle-all';
import { FieldEncryptionError, KeyStateError, KmsUnavailableError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import { requireProvenDates, takesAway } from '../record/key-macs';
import type { KeyRecord } from '../record/key-record';

import type { KeyWrapper } from './key-wrapper';
import { StillLoadingError } from './kms-client';

/**
 * Unwraps an active key before a new one joins the table: under a wrong passphrase or KEK this process
 * would make a key that no other can read. One that opens is proof: the row of another may have been
 * edited, which must not keep its key from being replaced.
 *
 * @param heldByCaller - a connection that waits with the caller, who then waits briefly.
 * @throws what unwrapping the first of them throws, where none opens; {@link KmsUnavailableError} while
 * the KMS is away
 */
export async function proveKek(
  wrapper: KeyWrapper,
  records: readonly KeyRecord[],
  heldByCaller?: unknown,
): Promise<void> {
  let first: FieldEncryptionError | undefined;
  for (const record of records) {
    if (record.state !== 'active') continue;
    const failure = await failureOf(wrapper, record, heldByCaller);
    if (isOpened(failure)) return;
    first ??= failure;
  }
  if (first !== undefined) throw first;
}

/**
 * Whether a row proves what never changes of its key, such as the version.
 *
 * @throws {@link KmsUnavailableError}
 */
export async function opens(wrapper: KeyWrapper, record: KeyRecord): Promise<boolean> {
  return isOpened(await failureOf(wrapper, record));
}

/**
 * Whether a row proves that this library wrote it as it is, with a KMS of this process.
 *
 * @throws {@link KmsUnavailableError}
 */
export async function isGenuine(wrapper: KeyWrapper, record: KeyRecord): Promise<boolean> {
  if (!wrapper.providers.isAuthenticated(record)) return false;
  return (await failureOf(wrapper, record)) === undefined;
}

/** The state of a key is looked at once it has opened. */
function isOpened(failure: FieldEncryptionError | undefined): boolean {
  return failure === undefined || failure instanceof KeyStateError;
}

async function failureOf(
  wrapper: KeyWrapper,
  record: KeyRecord,
  heldByCaller?: unknown,
): Promise<FieldEncryptionError | undefined> {
  try {
    await wrapper.unwrapToRead(record, heldByCaller);
    return undefined;
  } catch (error) {
    if (!(error instanceof FieldEncryptionError)) throw error;
    if (error instanceof KmsUnavailableError && !(await isOfRow(wrapper, record, error)))
      throw error;
    return error;
  }
}

/** Somebody may have made a row that the KMS fails on: a KMS that is well otherwise is not away. */
async function isOfRow(
  { providers }: KeyWrapper,
  record: KeyRecord,
  error: KmsUnavailableError,
): Promise<boolean> {
  return !(error instanceof StillLoadingError) && providers.areWell(record);
}

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
