import { settleAll } from '../../async/settle-all';
import { KeyNotFoundError, KeyStateError } from '../../errors';
import type { KeyServices } from '../key-services';
import type { KeyInfo } from '../record/key-info';
import { provenChange, stateAuthenticator } from '../record/key-macs';
import { keyTitle } from '../record/key-record';
import type { KeyRecord } from '../record/key-record';
import type { KeyChange } from '../store/key-store';
import { CONCURRENT_PROOFS } from '../wrapping/kms-client';

/** The result of an adoption. */
export interface AdoptionReport {
  /** Keys that prove now that the KMS has wrapped them. */
  readonly adopted: readonly KeyInfo[];
  /** Keys that did so before. */
  readonly current: readonly KeyInfo[];
}

type Services<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'emit'>;

/** Returns the keys, of every purpose, that could have been made without the KMS. */
export async function unauthenticatedKeys<C>({
  store,
  wrapper,
}: Pick<Services<C>, 'store' | 'wrapper'>): Promise<KeyRecord[]> {
  const records = await store.list();
  return records.filter(
    (record) => record.state !== 'destroyed' && !wrapper.providers.isAuthenticated(record),
  );
}

/**
 * Takes the caller's word that keys are this application's: wraps them again under the KMS that wraps
 * now, which proves from then on who made them. All of them at once, or none.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or one that was changed
 * meanwhile, and what unwrapping and wrapping throws
 */
export async function adoptKeys<C>(
  services: Services<C>,
  ids: readonly string[],
): Promise<Record<keyof AdoptionReport, readonly KeyRecord[]>> {
  const { store, wrapper, emit } = services;
  const chosen = await findAll(services, ids);
  const isCurrent = (record: KeyRecord): boolean => wrapper.providers.isAuthenticated(record);
  const changes: (KeyChange & { type: 'update' })[] = [];
  const due = chosen.filter((record) => !isCurrent(record));
  await settleAll(due, CONCURRENT_PROOFS, async (expected) => {
    const set = await wrapper.withBytesToAdopt(expected, async (bytes) => {
      const wrapping = await wrapper.wrapWith(wrapper.providers.primary, expected, bytes);
      const authenticate = stateAuthenticator(bytes);
      const adopted = { ...expected, ...wrapping };
      return { ...wrapping, ...provenChange(authenticate, adopted, {}, wrapper.epochs.next()) };
    });
    changes.push({ type: 'update', expected, set, adopted: true });
  });
  if (changes.length > 0 && !(await store.apply(changes))) throw changedMeanwhile();
  const kms = wrapper.providers.primary.name;
  for (const { id: keyId, name: keyName, version } of due) {
    emit({ type: 'keyAdopted', keyId, keyName, version, kms });
  }
  const adopted = changes.map(({ expected, set }) => ({ ...expected, ...set }));
  return { adopted, current: chosen.filter(isCurrent) };
}

async function findAll<C>(
  { store }: Services<C>,
  ids: readonly string[],
): Promise<readonly KeyRecord[]> {
  const found = new Map((await store.findByIds(ids)).map((record) => [record.id, record]));
  return [...new Set(ids)].map((id) => {
    const record = found.get(id);
    if (record === undefined) {
      throw new KeyNotFoundError(`key ${id} is not in the key table. Nothing was adopted.`, {
        keyId: id,
      });
    }
    if (record.state !== 'destroyed') return record;
    throw new KeyStateError(`${keyTitle(record)} is destroyed. Nothing was adopted.`, {
      keyId: id,
    });
  });
}

function changedMeanwhile(): KeyStateError {
  return new KeyStateError(
    'A key was changed by another process meanwhile; nothing was adopted. Look at them again.',
    { retryable: true },
  );
}
