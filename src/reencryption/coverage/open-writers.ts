import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';

import { KeyStateError } from '../../errors';
import type { KeyRecord } from '../../keys/record/key-record';
import { withConnection } from '../../typeorm/connection/lent-connection';
import type { Installation } from '../../typeorm/installation/installation';
import { encryptedTables } from '../encrypted-table';

/** The longest pause between checks, in milliseconds; pauses grow up to it. */
const LONGEST_PAUSE_MS = 1000;

/**
 * Selects the transactions that hold or await a lock for writing on one of these tables, a partition of
 * it or a table that inherits from it. Such a lock is kept until the transaction ends, even a prepared
 * one, and every role may see it, though not whose it is.
 */
const WRITERS_SQL = `
WITH RECURSIVE encrypted AS (
  SELECT CAST(to_regclass(name) AS oid) AS id FROM unnest(CAST($1 AS text[])) AS name
  UNION
  SELECT inhrelid FROM pg_inherits JOIN encrypted ON inhparent = encrypted.id
)
SELECT lock.virtualtransaction AS writer, bool_or(lock.pid IS NULL) AS prepared,
  MIN(COALESCE(session.xact_start, prepared.prepared)) AS since
FROM pg_locks AS lock
JOIN pg_database AS here ON here.oid = lock.database AND here.datname = current_database()
LEFT JOIN pg_stat_activity AS session ON session.pid = lock.pid
LEFT JOIN pg_locks AS own ON lock.pid IS NULL AND own.locktype = 'transactionid'
  AND own.virtualtransaction = lock.virtualtransaction
LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
WHERE lock.relation IN (SELECT id FROM encrypted)
  AND lock.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
GROUP BY lock.virtualtransaction`;

/** A transaction in which encrypted rows may have been written. */
interface Writer {
  readonly writer: string;
  readonly prepared: boolean;
  /** `null` if the role may not see it. */
  readonly since: Date | null;
}

/**
 * Waits for the end of all transactions that are writing encrypted tables now, or waiting to. Takes no
 * lock, so that nothing waits for it, and ignores transactions that begin meanwhile.
 *
 * SQLite does not need this: it has one writer at a time, and a key is erased in a transaction that
 * begins as the writer.
 *
 * @throws {@link KeyStateError}, retryable, if some are still open after `waitMs`
 */
export async function writersToEnd(
  installation: Installation,
  waitMs: number,
  key?: Pick<KeyRecord, 'id'>,
): Promise<void> {
  const { dataSource } = installation;
  if (dataSource.options.type !== 'postgres') return;
  const tables = encryptedTables(installation).map(({ name }) => name);
  const end = performance.now() + waitMs;
  let open = await writersOf(dataSource, tables);
  const first = new Set(open.map(({ writer }) => writer));
  for (let pause = 10; open.length > 0; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const left = end - performance.now();
    if (left <= 0) throw stillOpen(key, open);
    await sleep(Math.min(pause, left));
    const now = await writersOf(dataSource, tables);
    // A transaction gets another name when it is prepared.
    open = now.filter(({ writer, prepared }) => prepared || first.has(writer));
  }
}

function writersOf(dataSource: DataSource, tables: readonly string[]): Promise<Writer[]> {
  return withConnection(
    dataSource,
    undefined,
    (runner) => runner.query(WRITERS_SQL, [tables]) as Promise<Writer[]>,
  );
}

function stillOpen(key: Pick<KeyRecord, 'id'> | undefined, open: readonly Writer[]): KeyStateError {
  const known = open.flatMap(({ since }) => since ?? []).sort((a, b) => Number(a) - Number(b));
  const since =
    known[0] === undefined
      ? 'since when, this database role may not see'
      : `the oldest since ${known[0].toISOString()}`;
  return new KeyStateError(
    `${key === undefined ? 'the keys of a scope' : `key ${key.id}`} cannot be erased yet: ${String(open.length)} ` +
      `${open.length === 1 ? 'transaction that writes' : 'transactions that write'} encrypted tables ` +
      `${open.length === 1 ? 'is' : 'are'} open, ${since}, and may hold rows under it. Try again when ` +
      'they have ended; pg_stat_activity and pg_prepared_xacts show them.',
    { ...(key && { keyId: key.id }), retryable: true },
  );
}
