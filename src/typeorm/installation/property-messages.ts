import type { DataSource } from 'typeorm';

import { FieldEncryptionError } from '../../errors';
import { channels } from '../../telemetry/channels';
import type { ValuesMessage } from '../../telemetry/channels';
import type { EncryptedColumn } from '../metadata/encrypted-column';

import type { Installation } from './installation';

type Operation = ValuesMessage['operation'];

/** Publishes how many values of a column a statement or its result has. */
export function tellOfValues(
  { column, policy: { entity, property } }: EncryptedColumn,
  operation: Operation,
  count: () => number,
): void {
  if (!channels.values.hasSubscribers) return;
  const values = count();
  const source = column.entityMetadata.connection;
  if (values > 0) channels.values.publish({ source, operation, entity, property, values });
}

/** Counts those of some rows that have a value. */
export function countValues<T>(rows: readonly T[], valueOf: (row: T) => unknown): number {
  let values = 0;
  for (const row of rows) if ((valueOf(row) ?? null) !== null) values += 1;
  return values;
}

/** Publishes that a value failed, and returns the error. */
export function tellOfFailure<E>(source: DataSource, operation: Operation, error: E): E {
  if (channels.failure.hasSubscribers && error instanceof FieldEncryptionError) {
    const { code, entity, property } = error;
    channels.failure.publish({ source, operation, entity, property, code });
  }
  return error;
}

/** Publishes how many of the data keys of some prefixes are not in memory. */
export function tellOfKeys(
  { dataSource, keys }: Installation,
  prefixes: ReadonlySet<string>,
): void {
  if (prefixes.size === 0 || !channels.keyCache.hasSubscribers) return;
  const misses = keys.missing(prefixes).length;
  channels.keyCache.publish({ source: dataSource, hits: prefixes.size - misses, misses });
}
