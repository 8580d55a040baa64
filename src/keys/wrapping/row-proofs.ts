import { settleAll } from '../../async/settle-all';
import { FieldEncryptionError, KeyStateError, KmsUnavailableError } from '../../errors';
import type { FieldEncryptionErrorCode } from '../../errors';
import { requireProvenDates, takesAway } from '../record/key-macs';
import type { KeyRecord } from '../record/key-record';
import { isOwnBranchName } from '../record/scope';

import type { KeyWrapper } from './key-wrapper';
import { CONCURRENT_PROOFS, CONCURRENT_UNWRAPS, StillLoadingError } from './kms-client';

/**
 * Unwraps an active key before a new one joins the table: under a wrong passphrase or KEK this process
 * would make a key that no other can read. One that opens is proof enough: the row of another may have
 * been edited, which must not keep its key from being replaced.
 *
 * @param heldByCaller - the caller's connection, if it holds one; it then waits only briefly.
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
 * Whether a row proves the fields of its key that never change, such as the version.
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

/** Its state is checked only once a key has opened. */
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
    if (error instanceof KmsUnavailableError && !(await isFaultOfRow(wrapper, record, error))) {
      throw error;
    }
    return error;
  }
}

/** A row may have been made for the KMS to fail on: a KMS that is healthy otherwise is not away. */
async function isFaultOfRow(
  { providers }: KeyWrapper,
  record: KeyRecord,
  error: KmsUnavailableError,
): Promise<boolean> {
  return !(error instanceof StillLoadingError) && providers.areHealthy(record);
}

/** A key row that does not prove that this library wrote it with the KMS, or could not be checked. */
export interface UnprovenKey {
  readonly keyId: string;
  readonly code: FieldEncryptionErrorCode;
  readonly message: string;
}

/** The result of {@link proveRows}. */
export interface RowFindings {
  /** Keys that do not unwrap, whose row was edited, or that could have been made without the KMS. */
  readonly unproven: readonly UnprovenKey[];
  /** Keys that the KMS failed on: nothing can be said of them now. */
  readonly undecided: readonly UnprovenKey[];
}

/**
 * Finds the rows of keys that do not prove themselves. Destroyed keys are erased and have nothing to
 * prove. A row that the KMS fails on, which it may have been made for, hides nothing of the others.
 *
 * @throws {@link KmsUnavailableError} where it fails on all of them, and errors that are not of this library
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
  const prove = async (record: KeyRecord): Promise<void> => {
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
  };
  const isOwn = ({ name }: KeyRecord): boolean => isOwnBranchName(name);
  // Each scope has its own KMS, and one that hangs keeps nobody waiting for the others.
  await Promise.all([
    settleAll(claims.filter(isOwn), CONCURRENT_UNWRAPS, prove),
    settleAll(
      claims.filter((record) => !isOwn(record)),
      CONCURRENT_PROOFS,
      prove,
    ),
  ]);
  const [outage] = outages;
  if (outage !== undefined && outages.length === claims.length) throw outage;
  return { unproven, undecided };
}
