import { Broadcaster } from 'typeorm/subscriber/Broadcaster.js';

import type { UsedKeys } from '../../keys/cache/used-keys';
import { keysOfStatement } from '../connection/key-fence';
import { DIALECTS } from '../dialect/dialect-of';

type Parameters = readonly unknown[] | undefined;
type Query = (this: object, sql: string, parameters?: unknown[], structured?: boolean) => unknown;
type BeforeQuery = (this: object, result: object, sql: string, parameters: Parameters) => void;
type Broadcast = (this: object, event: string, ...of: readonly unknown[]) => Promise<void>;

/**
 * Checks the keys of each statement as TypeORM tells subscribers that it is about to run: it has the
 * connection by then, and hands the statement to the driver next. The statements of other DataSources
 * have no keys.
 */
export function checkKeysOfStatements(): void {
  /** The keys of a statement whose runner sends a copy of its parameters. */
  let copied: UsedKeys | undefined;
  const keysOf = (parameters: Parameters): UsedKeys | undefined =>
    (parameters && keysOfStatement(parameters)) ?? copied;

  const broadcaster = Broadcaster.prototype as unknown as {
    broadcastBeforeQueryEvent: BeforeQuery;
    broadcast: Broadcast;
  };
  const { broadcastBeforeQueryEvent, broadcast } = broadcaster;
  broadcaster.broadcastBeforeQueryEvent = function (result, sql, parameters) {
    keysOf(parameters)?.requireUsable();
    broadcastBeforeQueryEvent.call(this, result, sql, parameters);
  };
  // Subscribers may take their time, and some drivers of TypeORM wait for them.
  broadcaster.broadcast = function (event, ...of) {
    const used = event === 'BeforeQuery' ? keysOf(of[1] as Parameters) : undefined;
    const done = broadcast.call(this, event, ...of);
    return used === undefined
      ? done
      : done.then(() => {
          used.requireUsable();
        });
  };

  const copying = [...DIALECTS].flatMap(({ copyingRunners }) => copyingRunners);
  for (const runner of copying as { query: Query }[]) {
    const { query } = runner;
    runner.query = function (sql, parameters, structured) {
      copied = parameters && keysOfStatement(parameters);
      try {
        // Subscribers are told before this returns.
        return query.call(this, sql, parameters, structured);
      } finally {
        copied = undefined;
      }
    };
  }
}
