import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { KeyStateError } from '../../errors';
import type { KeyRecord } from '../../keys/record/key-record';
import { withConnection } from '../../typeorm/connection/lent-connection';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import type { Writer } from '../../typeorm/dialect/transactions';
import type { Installation } from '../../typeorm/installation/installation';
import { encryptedTables } from '../encrypted-table';

/** The longest pause between checks, in milliseconds; pauses grow up to it. */
const LONGEST_PAUSE_MS = 1000;

/**
 * Waits for the end of all transactions that are writing encrypted tables now, or waiting to. Takes no
 * lock, so that nothing waits for it, and ignores transactions that begin meanwhile.
 *
 * Where there is one writer at a time it does nothing: a key is erased in a transaction that begins as it.
 *
 * @throws {@link KeyStateError}, retryable, if some are still open after `waitMs`
 */
export async function writersToEnd(
  installation: Installation,
  waitMs: number,
  key?: Pick<KeyRecord, 'id'>,
): Promise<void> {
  const { dataSource } = installation;
  const { openWriters } = dialectOf(dataSource).transactions;
  if (openWriters === undefined) return;
  const tables = encryptedTables(installation).map(({ name }) => name);
  const end = performance.now() + waitMs;
  const writers = (): Promise<Writer[]> =>
    withConnection(dataSource, undefined, (runner) => openWriters.of(runner, tables));
  let open = await writers();
  const first = new Set(open.map(({ writer }) => writer));
  for (let pause = 10; open.length > 0; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const left = end - performance.now();
    if (left <= 0) throw stillOpen(key, open, openWriters.shownBy);
    await sleep(Math.min(pause, left));
    const now = await writers();
    // A transaction gets another name when it is prepared.
    open = now.filter(({ writer, prepared }) => prepared || first.has(writer));
  }
}

function stillOpen(
  key: Pick<KeyRecord, 'id'> | undefined,
  open: readonly Writer[],
  shownBy: string,
): KeyStateError {
  const known = open.flatMap(({ since }) => since ?? []).sort((a, b) => Number(a) - Number(b));
  const since =
    known[0] === undefined
      ? 'since when, this database role may not see'
      : `the oldest since ${known[0].toISOString()}`;
  return new KeyStateError(
    `${key === undefined ? 'the keys of a scope' : `key ${key.id}`} cannot be erased yet: ${String(open.length)} ` +
      `${open.length === 1 ? 'transaction that writes' : 'transactions that write'} encrypted tables ` +
      `${open.length === 1 ? 'is' : 'are'} open, ${since}, and may hold rows under it. Try again when ` +
      `they have ended; ${shownBy} show them.`,
    { ...(key && { keyId: key.id }), retryable: true },
  );
}
