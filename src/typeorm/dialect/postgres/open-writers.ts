import type { OpenWriters, Writer } from '../transactions';

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

export const openWriters: OpenWriters = {
  of: (runner, tables) => runner.query(WRITERS_SQL, [tables]) as Promise<Writer[]>,
  shownBy: 'pg_stat_activity and pg_prepared_xacts',
};
