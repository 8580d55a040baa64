import { setImmediate } from 'node:timers/promises';
import type { FieldValue, ValueType } from '../../encoding/value-codec';
import type { DataKey } from '../../keys/data-key';
import type { CryptoThread } from '../../threads/crypto-thread';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import { KnownValue, markStandIns } from '../stand-in';
import { decryptColumn, holdsOnlyOurText } from './known-values';
import type { RawResult, Row } from './raw-result';
import { usableKeys } from './usable-keys';

/** Values of one result from which on threads pay. */
const MANY_VALUES = 10_000;
/** Some milliseconds of work, so that who waits for the last batch does not wait long. */
const BATCH_ROWS = 500;
/** A longer ciphertext is decrypted in less time, for each byte of it, than it takes to send it. */
const LONGEST_SENT = 16_384;
/** What a thread can send as it is. */
const SENDABLE: ReadonlySet<ValueType> = new Set(['string', 'number', 'bigint', 'boolean', 'date']);

/** Taken before anybody may put a clock of their own in its place. */
const nextTurn = setImmediate;

/** Some rows of one column, under keys that are in memory. */
interface Batch {
  readonly encrypted: EncryptedColumn;
  readonly key: string;
  readonly rows: readonly Row[];
}

/**
 * Decrypts a result of very many values before TypeORM hydrates it, shared out between threads and this
 * one, which sees to other work after each batch. Values that do not decrypt are left as they are, for
 * the hydration to say what is wrong with them. Answers `undefined` where threads would not pay, or may
 * not have one of the keys.
 *
 * @throws {@link ConfigurationError} when the DataSource is destroyed meanwhile
 */
export function decryptAhead(
  result: RawResult,
  prefixes: ReadonlySet<string>,
): Promise<void> | undefined {
  const { rows, columns, installation } = result;
  if (rows.length * columns.length < MANY_VALUES || !installation.readThreads.enabled) {
    return undefined;
  }
  const batches = batchesOf(result);
  if (batches.length === 0) return undefined;
  const keys = usableKeys(prefixes, installation.keys);
  return keys && shareOut(batches, keys, installation);
}

async function shareOut(
  batches: Batch[],
  keys: readonly DataKey[],
  installation: Installation,
): Promise<void> {
  const { columns, readThreads } = installation;
  const handedOver: Promise<void>[] = [];
  const failures: unknown[] = [];
  const fail = (error: unknown): void => {
    failures.push(error);
  };
  readThreads.start();
  while (batches.length > 0) {
    for (let thread = readThreads.free(); thread !== undefined; thread = readThreads.free()) {
      const batch = batches.pop();
      if (batch === undefined) break;
      handedOver.push(decryptThere(batch, thread, keys).catch(fail));
    }
    const batch = batches.pop();
    if (batch === undefined) break;
    decryptColumn(batch.rows, batch.key, batch.encrypted);
    await nextTurn();
    installation.requireStill(columns);
  }
  await Promise.all(handedOver);
  installation.requireStill(columns);
  if (failures.length > 0) throw failures[0];
}

/** A joined row repeats values that are hydrated once: those are left to the hydration. */
function batchesOf({ rows, columns, expressions }: RawResult): Batch[] {
  const [first] = rows;
  if (first === undefined || expressions.joinAttributes.length > 0) return [];
  const sendable = columns.filter(([key, encrypted]) => key in first && isSendable(encrypted));
  if (rows.length * sendable.length < MANY_VALUES) return [];
  return sendable.flatMap(([key, encrypted]) => {
    markStandIns(rows, key);
    const batches: Batch[] = [];
    for (let at = 0; at < rows.length; at += BATCH_ROWS) {
      batches.push({ encrypted, key, rows: rows.slice(at, at + BATCH_ROWS) });
    }
    return batches;
  });
}

function isSendable(encrypted: EncryptedColumn): boolean {
  return holdsOnlyOurText(encrypted) && SENDABLE.has(encrypted.policy.type);
}

async function decryptThere(
  { encrypted, key, rows }: Batch,
  thread: CryptoThread,
  keys: readonly DataKey[],
): Promise<void> {
  const sent: Row[] = [];
  const stored: string[] = [];
  for (const row of rows) {
    const value = row[key];
    if (typeof value !== 'string' || value.length > LONGEST_SENT) continue;
    sent.push(row);
    stored.push(value);
  }
  const { policy } = encrypted;
  const values = await thread.open({ policy, keys, stored });
  for (const [i, text] of stored.entries()) {
    const [row, value] = [sent[i], values[i]];
    if (row === undefined || value === undefined) continue;
    row[key] = new KnownValue(encrypted.column, text, ofThisThread(policy.type, value));
  }
}

/** A Date arrives as one of Node.js itself, which is not the one of whoever runs in a context of its own, such as Jest. */
function ofThisThread(type: ValueType, value: FieldValue): FieldValue {
  return type === 'date' ? new Date(Number(value)) : value;
}
