import type { QueryRunner } from 'typeorm';

import { channels } from '../../telemetry/channels';
import type { ValuesMessage } from '../../telemetry/channels';
import type { EncryptedColumn } from '../metadata/encrypted-column';
import { tellOfFailure } from '../metadata/failure-message';

import type { Installation } from './installation';

type Operation = ValuesMessage['operation'];

/** The limits that operations are under. */
const SUBJECTS = { decrypt: 'reads', lookup: 'lookups' } as const;

/** Values of a column that are used. */
export type ValueUse = readonly [column: Pick<EncryptedColumn, 'policy'>, values: number];

/** Whether it matters who uses values, and how many. */
export function watchesUse({ access, guard }: Installation): boolean {
  return access.isOn || guard !== undefined || channels.values.hasSubscribers;
}

/**
 * Notes that a statement uses values: refuses it to an actor that may not, or uses too many, and publishes how many.
 * Of what is refused nothing counts.
 *
 * @param uses - returns the columns; called only where it matters.
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function noteUses(
  installation: Installation,
  operation: Operation,
  uses: () => readonly ValueUse[],
): void {
  if (!watchesUse(installation)) return;
  const used = uses().filter(([, values]) => values > 0);
  const [first] = used;
  if (first === undefined) return;
  for (const [column] of used) requireUse(installation, column, operation);
  try {
    const total = used.reduce((sum, [, values]) => sum + values, 0);
    if (operation !== 'encrypt') {
      installation.guard?.use(SUBJECTS[operation], total, first[0].policy);
    }
  } catch (error) {
    throw tellOfFailure(installation.dataSource, operation, error);
  }
  for (const [column, values] of used) publish(installation, column, operation, values);
}

/** {@link noteUses} of one column. */
export function noteUse(
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  count: () => number,
): void {
  noteUses(installation, operation, () => [[encrypted, count()]]);
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

/**
 * Refuses a statement that hands out what it writes, before it is sent.
 *
 * @param rows - the most that it writes.
 * @throws {@link AccessDeniedError}, {@link RateLimitedError}
 */
export function requireUseOfResult(
  installation: Installation,
  columns: readonly Pick<EncryptedColumn, 'policy'>[],
  rows: number,
): void {
  const [first] = columns;
  if (first === undefined) return;
  for (const encrypted of columns) requireUse(installation, encrypted, 'decrypt');
  try {
    installation.guard?.reserve('reads', columns.length * rows, first.policy);
  } catch (error) {
    throw tellOfFailure(installation.dataSource, 'decrypt', error);
  }
}

/** Counts and publishes values that a statement has handed out: it is too late to refuse them. */
export function tellOfUse(
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  count: () => number,
): void {
  if (!watchesUse(installation)) return;
  const values = count();
  if (values === 0) return;
  try {
    installation.guard?.use('reads', values, encrypted.policy, { isDone: true });
  } catch {
    // The application's limit for the actor, which was there before the statement was sent.
  }
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

/**
 * Waits for the turn of an actor that is slowed down; undefined for any other. Never while a connection is held, in a
 * transaction above all, nor after anything was written.
 *
 * @throws {@link RateLimitedError}
 */
export function turnOf(
  { dataSource, guard }: Installation,
  { policy }: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
): Promise<void> | undefined {
  try {
    return guard?.pause(policy);
  } catch (error) {
    throw tellOfFailure(dataSource, operation, error);
  }
}

/**
 * {@link noteUse}, in the turn of the actor. For uses that no query is sent for.
 *
 * @param held - the connection of the caller's transaction, in which nobody waits.
 * @param count - defaults to one value.
 */
export async function noteUseInTurn(
  held: QueryRunner | undefined,
  installation: Installation,
  encrypted: Pick<EncryptedColumn, 'policy'>,
  operation: Operation,
  count = (): number => 1,
): Promise<void> {
  const isRead = operation !== 'encrypt';
  if (isRead && held === undefined) await turnOf(installation, encrypted, operation);
  noteUse(installation, encrypted, operation, count);
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
