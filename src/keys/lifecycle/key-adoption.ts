import { KeyNotFoundError, KeyStateError } from '../../errors';
import type { KeyRecord } from '../record/key-record';
import type { KeyServices } from '../key-services';
import { provenChange, stateAuthenticator } from '../record/key-macs';
import type { KeyChange } from '../store/key-store';
import { keyTitle } from '../record/key-record';
import { settleAll } from '../../async/settle-all';

/** Keys that were adopted. */
export interface AdoptedRecords {
  readonly adopted: readonly KeyRecord[];
  /** Keys that needed no adoption. */
  readonly current: readonly KeyRecord[];
}

/** What adoption works with. */
export type KeyAdoptionParts<C> = Pick<KeyServices<C>, 'store' | 'wrapper' | 'emit'>;

/** Keys wrapped at a time. */
const CONCURRENCY = 4;

/** The keys, of every purpose, that somebody without the KMS could have made. */
export async function unauthenticatedKeys<C>({
  store,
  wrapper,
}: KeyAdoptionParts<C>): Promise<KeyRecord[]> {
  const records = await store.list();
  return records.filter(
    (record) => record.state !== 'destroyed' && !wrapper.providers.isAuthenticated(record),
  );
}

/**
 * Takes somebody's word that keys are this application's: wraps them again under the KMS that wraps
 * now, which proves from then on who made them. All of them at once, or none.
 *
 * @throws {@link KeyNotFoundError}, {@link KeyStateError} for a destroyed key or one that was changed
 * meanwhile, and what unwrapping and wrapping throws
 */
export async function adoptKeys<C>(
  parts: KeyAdoptionParts<C>,
  ids: readonly string[],
): Promise<AdoptedRecords> {
  const { store, wrapper, emit } = parts;
  const chosen = await findAll(parts, ids);
  const isCurrent = (record: KeyRecord): boolean => wrapper.providers.isAuthenticated(record);
  const changes: (KeyChange & { type: 'update' })[] = [];
  const due = chosen.filter((record) => !isCurrent(record));
  await settleAll(due, CONCURRENCY, async (expected) => {
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
  { store }: KeyAdoptionParts<C>,
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
