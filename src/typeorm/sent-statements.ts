import { BetterSqlite3QueryRunner } from 'typeorm/driver/better-sqlite3/BetterSqlite3QueryRunner.js';
import { Broadcaster } from 'typeorm/subscriber/Broadcaster.js';
import type { BroadcasterResult } from 'typeorm/subscriber/BroadcasterResult.js';
import type { UsedKeys } from '../keys/used-keys';

/** The keys that statements were made with, by the parameters that are sent. */
const usedKeys = new WeakMap<readonly unknown[], UsedKeys>();

/** Has a statement held back if the keys it was made with are too old when it comes to be sent. */
export function rememberKeys(parameters: readonly unknown[], used: UsedKeys): void {
  if (!used.isEmpty) usedKeys.set(parameters, used);
}

type Query = (this: object, sql: string, parameters?: unknown[], structured?: boolean) => unknown;

type BeforeQuery = (
  this: object,
  result: BroadcasterResult,
  sql: string,
  parameters: unknown[] | undefined,
) => void;

/**
 * Checks the keys of each statement where TypeORM tells subscribers that it is about to run: it has the
 * connection by then, and hands the statement to the driver next. Its classes are the same for all
 * DataSources, and statements of others have no keys.
 */
export function checkKeysOfStatements(): void {
  const broadcaster = Broadcaster.prototype as unknown as {
    broadcastBeforeQueryEvent: BeforeQuery;
  };
  const { broadcastBeforeQueryEvent } = broadcaster;
  /** Of a runner that sends a copy of its parameters. */
  let copied: UsedKeys | undefined;
  broadcaster.broadcastBeforeQueryEvent = function (result, sql, parameters) {
    const used = (parameters && usedKeys.get(parameters)) ?? copied;
    broadcastBeforeQueryEvent.call(this, result, sql, parameters);
    if (used === undefined) return;
    used.requireUsable();
    // Subscribers may take their time.
    const { promises } = result;
    if (promises.length > 0) {
      promises.push(
        Promise.all(promises).then(() => {
          used.requireUsable();
        }),
      );
    }
  };

  const runner = BetterSqlite3QueryRunner.prototype as unknown as { query: Query };
  const { query } = runner;
  runner.query = function (sql, parameters, structured) {
    copied = parameters && usedKeys.get(parameters);
    try {
      // It comes to the subscribers before it returns.
      return query.call(this, sql, parameters, structured);
    } finally {
      copied = undefined;
    }
  };
}
