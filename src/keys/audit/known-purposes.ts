import type { AuditStore } from '../../audit/audit-entry';
import type { FindSeal } from '../../audit/audit-verification';
import type { KeyRecord } from '../record/key-record';

/** The most entries about one key that are read. */
const MAX_ENTRIES = 500;

/**
 * Returns the purposes for which the log knows the key of an id, by entries whose seal holds, as anybody
 * could have written the others. Undefined where there are too many entries, or where the log begins after
 * the first version of that name.
 */
export async function knownPurposes<C>(
  entries: AuditStore<C>,
  sealOf: FindSeal,
  { id: keyId, purpose, name }: Pick<KeyRecord, 'id' | 'purpose' | 'name'>,
  connection?: C,
): Promise<ReadonlySet<string> | undefined> {
  const first = await entries.highestVersion({ purpose, name, limit: 1 }, connection);
  if (first !== 1) return undefined;
  const found = await entries.ofKey(keyId, MAX_ENTRIES, connection);
  if (found.length === MAX_ENTRIES) return undefined;
  const purposes = new Set<string>();
  for (const entry of found) {
    const seal = await sealOf(entry.sealedBy);
    if (typeof seal !== 'string' && seal.holds(entry)) purposes.add(entry.keyPurpose ?? '');
  }
  return purposes;
}
