import { promisify } from 'node:util';
import type { ValueType } from '../../encoding/value-codec';
import type { KeySource } from '../../keys/key-source';
import type { CryptoThread } from '../../threads/crypto-thread';
import type { EncryptedColumn } from '../encrypted-column';
import type { Installation } from '../installation';
import { KnownValue, markStandIns } from '../stand-in';
import type { Expressions } from './any-query-builder';
import { selectedColumns } from './ciphertext-prefixes';
import { FoundKeys } from './found-keys';
import { decryptColumn, holdsOnlyOurText } from './known-values';

/** Values of one result from which on threads pay. */
const MANY_VALUES = 10_000;
/** Some milliseconds of work, so that who waits for the last batch does not wait long. */
const BATCH_ROWS = 500;
/** What a thread can send as it is. */
const SENDABLE: ReadonlySet<ValueType> = new Set(['string', 'number', 'bigint', 'boolean', 'date']);

/** Taken before anybody may put a clock of their own in its place. */
const nextTurn = promisify(setImmediate);

type Row = Record<string, unknown>;

/** Some rows of one column, under keys that are in memory. */
interface Batch {
  readonly encrypted: EncryptedColumn;
  readonly key: string;
  readonly rows: readonly Row[];
}

/**
 * Decrypts a result of very many values before TypeORM hydrates it, shared out between threads and this
 * one, which sees to other work after each batch. Values that do not decrypt are left as they are, for
 * the hydration to say what is wrong with them.
 */
export async function decryptAhead(
  rows: readonly Row[],
  expressions: Expressions,
  installation: Installation,
): Promise<void> {
  const { readThreads } = installation;
  if (!readThreads.enabled) return;
  const batches = batchesOf(rows, expressions, installation);
  if (batches.length === 0) return;

  readThreads.start();
  const handedOver: Promise<void>[] = [];
  while (batches.length > 0) {
    for (let thread = readThreads.free(); thread !== undefined; thread = readThreads.free()) {
      const batch = batches.pop();
      if (batch === undefined) break;
      handedOver.push(decryptThere(batch, thread, installation.keys));
    }
    const batch = batches.pop();
    if (batch === undefined) break;
    decryptColumn(batch.rows, batch.key, batch.encrypted);
    await nextTurn();
  }
  await Promise.all(handedOver);
}

/** A joined row repeats values that are hydrated once: those are left to the hydration. */
function batchesOf(
  rows: readonly Row[],
  expressions: Expressions,
  installation: Installation,
): Batch[] {
  const [first] = rows;
  if (first === undefined || expressions.joinAttributes.length > 0) return [];
  const columns = selectedColumns(expressions, installation).filter(
    ([key, encrypted]) => key in first && isSendable(encrypted),
  );
  if (rows.length * columns.length < MANY_VALUES) return [];
  return columns.flatMap(([key, encrypted]) => {
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
  keys: KeySource,
): Promise<void> {
  const found = new FoundKeys(keys);
  const sent: Row[] = [];
  const stored: string[] = [];
  for (const row of rows) {
    const value = row[key];
    if (typeof value !== 'string' || !found.has(value)) continue;
    sent.push(row);
    stored.push(value);
  }
  const values = await thread.open({ policy: encrypted.policy, keys: found.keys, stored });
  for (const [i, text] of stored.entries()) {
    const [row, value] = [sent[i], values[i]];
    if (row !== undefined && value !== undefined)
      row[key] = new KnownValue(encrypted.column, text, value);
  }
}
