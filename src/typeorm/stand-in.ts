import { inspect } from 'node:util';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import type { FieldValue } from '../encoding/value-codec';

/**
 * Stands in a raw row in the place of a stored value that was decrypted ahead of TypeORM's hydration,
 * so that the plaintext lives no longer than the row; shows nothing of it.
 */
export class StandIn {
  readonly stored: unknown;

  constructor(stored: unknown) {
    this.stored = stored;
  }

  toJSON(): unknown {
    return this.stored;
  }

  [inspect.custom](): string {
    return '[encrypted]';
  }
}

/** A ciphertext whose value is known already. */
export class KnownValue extends StandIn {
  readonly column: ColumnMetadata;
  readonly #value: FieldValue;

  constructor(column: ColumnMetadata, stored: string, value: FieldValue) {
    super(stored);
    this.column = column;
    this.#value = value;
  }

  value(): FieldValue {
    return this.#value;
  }
}

/** Results in which some values have a stand-in, with the names of their columns in the rows. */
const results = new WeakMap<object, Set<string>>();

/** Has {@link restoreStored} look at a column of a result. */
export function markStandIns(rows: readonly object[], key: string): void {
  const keys = results.get(rows);
  if (keys === undefined) results.set(rows, new Set([key]));
  else keys.add(key);
}

/** Raw rows stay as the database holds them for callers that asked for them beside the entities. */
export function restoreStored(rows: readonly Record<string, unknown>[]): void {
  for (const key of results.get(rows) ?? []) {
    for (const row of rows) {
      const value = row[key];
      if (value instanceof StandIn) row[key] = value.stored;
    }
  }
}
