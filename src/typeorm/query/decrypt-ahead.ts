import type { ValueType } from '../../encoding/value-codec';
import type { EncryptedColumn } from '../encrypted-column';
import type { StoredColumn } from '../read-ahead';
import { holdsOnlyOurText } from './known-values';
import type { RawResult, Row, SelectedColumn } from './raw-result';
import { usableKeys } from './usable-keys';

/** Values of one result from which on threads pay. */
const MANY_VALUES = 10_000;
/** What a thread can send as it is. */
const SENDABLE: ReadonlySet<ValueType> = new Set(['string', 'number', 'bigint', 'boolean', 'date']);

/**
 * Has threads begin with a result of very many values before TypeORM hydrates it; not where they would
 * not pay, or may not have one of the keys.
 */
export function decryptAhead(result: RawResult, prefixes: ReadonlySet<string>): void {
  const { builder, rows, columns, installation } = result;
  if (rows.length * columns.length < MANY_VALUES || !installation.readThreads.enabled) return;
  const sendable = sendableColumns(result);
  if (rows.length * sendable.length < MANY_VALUES) return;
  const keys = usableKeys(prefixes, installation.keys);
  if (keys === undefined) return;
  const stored = sendable.map(([key, encrypted]): StoredColumn => [encrypted, textsOf(rows, key)]);
  installation.readAhead.begin(builder, stored, keys);
}

/** A joined row repeats values that are hydrated once: those are left to the hydration. */
function sendableColumns({ rows, columns, expressions }: RawResult): SelectedColumn[] {
  const [first] = rows;
  if (first === undefined || expressions.joinAttributes.length > 0) return [];
  return columns.filter(([key, encrypted]) => key in first && isSendable(encrypted));
}

function textsOf(rows: readonly Row[], key: string): string[] {
  return rows.map((row) => row[key]).filter((value) => typeof value === 'string');
}

function isSendable(encrypted: EncryptedColumn): boolean {
  return holdsOnlyOurText(encrypted) && SENDABLE.has(encrypted.policy.type);
}
