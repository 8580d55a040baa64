import type { EventEmitter } from 'node:events';
import type { DataSource } from 'typeorm';

import type { SecretsOf } from '../secret-rows';

import { withoutValues } from './quoted-values';
import type { MysqlError } from './quoted-values';

type Callback = (error: MysqlError | null, ...results: unknown[]) => void;

/** The part of a connection of `mysql2` that is used. */
interface Connection {
  query: (...args: unknown[]) => unknown;
}

/** The part of TypeORM's driver that is used. */
interface ObtainingDriver {
  obtainMasterConnection(): Promise<Connection>;
  obtainSlaveConnection(): Promise<Connection>;
}

/**
 * Removes values from the errors of MySQL and MariaDB, which quote them in messages. The driver also gives them the
 * statement with all of its parameters, which becomes the statement without.
 */
export function redactFailingRows(dataSource: DataSource, secretsOf: SecretsOf): void {
  const driver = dataSource.driver as unknown as ObtainingDriver;
  for (const method of ['obtainMasterConnection', 'obtainSlaveConnection'] as const) {
    const obtain = driver[method].bind(driver);
    driver[method] = async () => {
      const connection = await obtain();
      watch(connection, dataSource, secretsOf);
      return connection;
    };
  }
}

const watched = new WeakSet<Connection>();

function watch(connection: Connection, dataSource: DataSource, secretsOf: SecretsOf): void {
  if (watched.has(connection)) return;
  watched.add(connection);
  const query = connection.query.bind(connection);
  connection.query = (...args) => {
    const done = args.at(-1);
    const sql = textOf(args[0]);
    if (typeof done !== 'function') {
      return (query(...args) as EventEmitter).on('error', (error: MysqlError) => {
        withoutValues(error, sql, { dataSource, secretsOf });
      });
    }
    const redacted: Callback = (error, ...results) => {
      if (error !== null) withoutValues(error, sql, { dataSource, secretsOf });
      (done as Callback)(error, ...results);
    };
    return query(...args.slice(0, -1), redacted);
  };
}

/** A statement comes as its text, or in options. */
function textOf(statement: unknown): string {
  return String((statement as { sql?: unknown } | undefined)?.sql ?? statement);
}
