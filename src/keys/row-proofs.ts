import { FieldEncryptionError, KeyStateError, KmsUnavailableError } from '../errors';
import { StillLoadingError } from './brief-wait';
import type { KeyRecord } from './key-record';
import type { KeyWrapper } from './key-wrapper';

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
