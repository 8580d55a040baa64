import { channels } from '../../telemetry/channels';
import type { ValuesMessage } from '../../telemetry/channels';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { tellOfFailure } from '../metadata/failure-message';

import type { Installation } from './installation';

type Operation = ValuesMessage['operation'];

/**
 * Notes that a statement uses values of a column: refuses it to an actor that may not, and publishes how many.
 *
 * @param count - returns how many; called only where it matters.
 * @throws {@link AccessDeniedError}
 */
export function noteUse(
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  count: () => number,
): void {
  if (!installation.access.isOn && !channels.values.hasSubscribers) return;
  const values = count();
  if (values === 0) return;
  requireUse(installation, encrypted, operation);
  tellOfUse(installation, encrypted, operation, () => values);
}

/**
 * Refuses use of values of a column to an actor that may not, before anything is done for it.
 *
 * @throws {@link AccessDeniedError}
 */
export function requireUse(
  { access, dataSource }: Installation,
  { policy }: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
): void {
  try {
    access.requireUse(policy);
  } catch (error) {
    throw tellOfFailure(dataSource, operation, error);
  }
}

/** Publishes how many values of a column were used. */
export function tellOfUse(
  { dataSource: source }: Installation,
  { policy: { entity, property } }: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  count: () => number,
): void {
  if (!channels.values.hasSubscribers) return;
  const values = count();
  if (values > 0) channels.values.publish({ source, operation, entity, property, values });
}

/** Counts those of some rows that have a value. */
export function countValues<T>(rows: readonly T[], valueOf: (row: T) => unknown): number {
  let values = 0;
  for (const row of rows) if ((valueOf(row) ?? null) !== null) values += 1;
  return values;
}

/** Publishes how many of the data keys of some prefixes are not in memory. */
export function tellOfKeys(
  { dataSource, keys }: Installation,
  prefixes: ReadonlySet<string>,
): void {
  if (prefixes.size === 0 || !channels.keyCache.hasSubscribers) return;
  let hits = 0;
  for (const prefix of prefixes) if (isInMemory(keys, prefix)) hits += 1;
  channels.keyCache.publish({ source: dataSource, hits, misses: prefixes.size - hits });
}

/** Goes by use rather than by what would be loaded, which a key that has just failed is not. */
function isInMemory(keys: Installation['keys'], prefix: string): boolean {
  try {
    keys.keyByPrefix(prefix);
    return true;
  } catch {
    return false;
  }
}
