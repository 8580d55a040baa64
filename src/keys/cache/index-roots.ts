import { ConfigurationError, FieldEncryptionError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { IndexRoot } from '../key-source';
import type { KeyRecord } from '../record/key-record';

import { loadFailed } from './failed-keys';

type RootServices<C> = Pick<KeyServices<C>, 'wrapper' | 'audit' | 'emit'>;

/**
 * Unwraps the roots beside the active one, newest first. All of them or none: if a root were missing,
 * lookups would silently miss rows with its tokens, and their duplicates would be let through. A row that
 * does not prove itself and is not known from elsewhere is no root, and left out.
 *
 * @throws whatever {@link KeyWrapper.unwrap} throws
 */
export async function otherRoots<C>(
  services: RootServices<C>,
  records: readonly KeyRecord[],
  heldByCaller?: C,
): Promise<IndexRoot[]> {
  const others = records
    .filter(({ purpose, state }) => purpose === 'index' && state !== 'active')
    .sort((a, b) => b.version - a.version);
  const unwrapped = await Promise.all(
    others.map((record) => rootOf(services, record, heldByCaller)),
  );
  return unwrapped.flat();
}

async function rootOf<C>(
  services: RootServices<C>,
  record: KeyRecord,
  heldByCaller?: C,
): Promise<IndexRoot[]> {
  try {
    const root = await services.wrapper.unwrap(record, heldByCaller);
    return root.purpose === 'index' ? [root.key] : [];
  } catch (error) {
    // A missing KMS or setting says nothing about who made the row.
    if (!(error instanceof FieldEncryptionError) || error instanceof ConfigurationError) {
      throw error;
    }
    if (error.retryable || !services.wrapper.providers.has(record)) throw error;
    if (await isKnownRoot(services, record, heldByCaller)) throw error;
    services.emit(loadFailed('index', record, error));
    return [];
  }
}

/**
 * Whether there may be tokens of a root, as far as it is known from elsewhere than its row. Otherwise
 * anyone who can write to the key table could stop all lookups with a forged row.
 */
async function isKnownRoot<C>(
  { wrapper, audit }: Pick<RootServices<C>, 'wrapper' | 'audit'>,
  record: KeyRecord,
  connection?: C,
): Promise<boolean> {
  if (wrapper.epochs.known().some(({ id }) => id === record.id)) return true;
  const purposes = await audit?.purposesOf(record, connection);
  return purposes === undefined || purposes.has('index');
}
