import { channels } from '../../telemetry/channels';
import type { ValuesMessage } from '../../telemetry/channels';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { tellOfFailure } from '../metadata/failure-message';

import type { Installation } from './installation';

type Operation = ValuesMessage['operation'];

/** The limits that operations are under. */
const SUBJECTS = { decrypt: 'reads', lookup: 'lookups' } as const;

/**
 * Notes that a statement uses values of a column: refuses it to an actor that may not, or uses too many, and
 * publishes how many.
 *
 * @param count - returns how many; called only where it matters.
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function noteUse(
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  count: () => number,
): void {
  const { access, dataSource, guard } = installation;
  if (!access.isOn && guard === undefined && !channels.values.hasSubscribers) return;
  const values = count();
  if (values === 0) return;
  requireUse(installation, encrypted, operation);
  try {
    if (operation !== 'encrypt') guard?.use(SUBJECTS[operation], values, encrypted.policy);
  } catch (error) {
    throw tellOfFailure(dataSource, operation, error);
  }
  publish(installation, encrypted, operation, values);
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

/** Counts and publishes values that a statement has handed out: it is too late to refuse them. */
export function tellOfUse(
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  count: () => number,
): void {
  const { guard } = installation;
  if (guard === undefined && !channels.values.hasSubscribers) return;
  const values = count();
  if (values === 0) return;
  guard?.use('reads', values, encrypted.policy, { isDone: true });
  publish(installation, encrypted, 'decrypt', values);
}

function publish(
  { dataSource: source }: Installation,
  { policy: { entity, property } }: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  values: number,
): void {
  channels.values.publish({ source, operation, entity, property, values });
}

/** {@link noteUse}, in the turn of an actor that is slowed down. For uses that no query is sent for. */
export async function noteUseInTurn(...use: Parameters<typeof noteUse>): Promise<void> {
  await use[0].guard?.pause();
  noteUse(...use);
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
