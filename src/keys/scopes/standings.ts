import type { ActiveKey } from '../cache/active-keys';
import { oldTransaction } from '../cache/failed-keys';
import type { KeyServices } from '../key-services';

import type { ScopeBranches } from './scope-branches';
import type { WantedKey } from './wanted-key';

/** When a key was confirmed, and the end of its use for writing. */
export type Standing = Pick<ActiveKey<unknown>, 'confirmedAt' | 'usableUntil'>;

/**
 * Returns since when, and until when, keys whose rows are read now count as confirmed: as their branch does.
 *
 * @throws {@link KeyStateError} in a transaction that may not see yet that a scope was erased
 */
export async function standingsOf<C>(
  wanted: readonly WantedKey[],
  parts: { readonly services: KeyServices<C>; readonly branches: ScopeBranches<C> },
  connection: C | undefined,
): Promise<Map<WantedKey, Standing>> {
  const { branches, services } = parts;
  const { maxAgeMs } = services.policy;
  const age = connection === undefined ? 0 : await services.store.snapshotAge(connection);
  if (age >= maxAgeMs) throw oldTransaction(maxAgeMs);
  const standings = new Map<WantedKey, Standing>();
  for (const key of wanted) {
    const branch = branches.standingFor(key.scope);
    if (branch === undefined) continue;
    const { confirmedAt, usableUntil } = branch;
    standings.set(key, { confirmedAt: confirmedAt - age, usableUntil: usableUntil - age });
  }
  return standings;
}
