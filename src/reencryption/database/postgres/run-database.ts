import type { DataSource } from 'typeorm';

import { RunPlanError } from '../../../errors';
import type { Storage } from '../../../format/field-ciphertext';
import type { UsedKeys } from '../../../keys/cache/used-keys';
import { isLockTimeout } from '../../../typeorm/connection/transient-conflict';
import { dialectOf } from '../../../typeorm/dialect/dialect-of';
import { rowSecurity } from '../../../typeorm/dialect/postgres/row-security';
import { PageReads } from '../page-reads';
import { comparedAsRows } from '../page-sql';
import type { PageDialect, PageStatement, RawRow } from '../page-sql';
import { wrongLength } from '../row';
import type { Lease, PageChange, RowKey } from '../row';
import { DatabaseError, withConnection } from '../run-database';
import type { RunDatabase } from '../run-database';
import type { WorkTable } from '../work-table';

import { SKIP_LOCKED, WAIT_FOR_LOCKED, writePageSql } from './page-write';
import type { RowLocking } from './page-write';

/** The part of `pg` that is used. */
interface Client {
  query(sql: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

const INTEGERS = ['smallint', 'integer'];

const DIALECT: PageDialect = {
  // As text: some values have more digits than JavaScript's dates and numbers.
  key: ({ name }) => `CAST(${name} AS text)`,
  parameter: (number) => `$${String(number)}`,
  bound: (number, { type }) => `CAST($${String(number)} AS ${type})`,
  compared: comparedAsRows,
  version: { at: 'ctid', by: 'xmin' },
};

/**
 * PostgreSQL. A page is one statement. A row is written only if it is the very version that was
 * read, which `ctid` and `xmin` tell without comparing its content. If the application keeps a row
 * locked, the page is written again without such rows, so that the run neither waits for the
 * application nor deadlocks with it.
 */
export class PostgresRunDatabase extends PageReads implements RunDatabase {
  readonly now: string;
  readonly concurrency = 2;
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    super(DIALECT);
    this.#dataSource = dataSource;
    this.now = dialectOf(dataSource).sql.now;
  }

  maxRows(): number {
    return Number.POSITIVE_INFINITY;
  }

  beginsWith(cell: string, storage: Storage, prefixes: readonly string[]): string {
    if (prefixes.length === 0) return 'FALSE';
    const header =
      storage === 'text' ? `substr(${cell}, 1, 12)` : `encode(substr(${cell}, 1, 9), 'hex')`;
    const literals = prefixes.map((prefix) =>
      storage === 'text' ? `'${prefix}'` : `'${Buffer.from(prefix, 'base64url').toString('hex')}'`,
    );
    return `${header} IN (${literals.join(', ')})`;
  }

  async columnTypes(table: string): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#query(
      // Without a length: a cast to `character`, which means `character(1)`, would cut a value.
      'SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute ' +
        'WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped',
      [table],
    );
    return new Map(rows.map(({ name, type }) => [String(name), String(type)]));
  }

  async writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
  ): Promise<number | undefined> {
    try {
      return await this.#writePage(table, change, lease, cursor, WAIT_FOR_LOCKED);
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      return this.#writePage(table, change, lease, cursor, SKIP_LOCKED);
    }
  }

  async #writePage(
    table: WorkTable,
    change: PageChange,
    lease: Lease,
    cursor: RowKey | undefined,
    locking: RowLocking,
  ): Promise<number | undefined> {
    const statement = writePageSql(this.#dataSource, table, change, lease, cursor, locking);
    const [row] = await this.#query(statement.sql, statement.values, change.used);
    return row === undefined ? undefined : Number(row['written']);
  }

  async keyProblem({ keys }: WorkTable, key: RowKey): Promise<Error | undefined> {
    if (key.length !== keys.length) return wrongLength(keys.length);
    if (key.some((value) => typeof value !== 'string')) return new TypeError('it is no text');
    const cast = keys.map((cell, i) => DIALECT.bound(i + 1, cell)).join(', ');
    try {
      await this.#query(`SELECT ${cast}`, key);
      return undefined;
    } catch (error) {
      // "Data Exception" (appendix A of the manual).
      if (error instanceof DatabaseError && error.code?.startsWith('22') === true) return error;
      throw error;
    }
  }

  reportedKey({ keys }: WorkTable, key: RowKey): readonly unknown[] {
    return key.map((value, i) => (INTEGERS.includes(keys[i]?.type ?? '') ? Number(value) : value));
  }

  async replicaLagMs(): Promise<number> {
    const [row] = await this.#query(
      "SELECT COALESCE(MAX(date_part('epoch', replay_lag)), 0) * 1000 AS lag, " +
        'COUNT(*) FILTER (WHERE state IS NULL) AS hidden FROM pg_stat_replication',
      [],
    );
    if (Number(row?.['hidden'] ?? 0) > 0) throw lagHidden();
    return Number(row?.['lag'] ?? 0);
  }

  protected override rows(
    { metadata }: WorkTable,
    { sql, values }: PageStatement,
  ): Promise<RawRow[]> {
    return withConnection(this.#dataSource, async (connection) => {
      const client = connection as Client;
      const send = (each: string): Promise<unknown> => client.query(each);
      const { rows } = await rowSecurity.onAllRows(send, metadata, { isActive: false }, () =>
        client.query(sql, values),
      );
      return rows;
    });
  }

  #query(
    sql: string,
    values: readonly unknown[],
    used?: UsedKeys,
  ): Promise<Record<string, unknown>[]> {
    return withConnection(this.#dataSource, async (client) => {
      used?.requireUsable();
      const { rows } = await (client as Client).query(sql, values);
      return rows;
    });
  }
}

/** Without the right to see it, the lag would always be 0. */
function lagHidden(): RunPlanError {
  return new RunPlanError(
    'The database role may not see how far replicas are behind, which `--max-replica-lag` (option ' +
      '`maxReplicaLagMs`) needs. As a superuser: GRANT pg_read_all_stats TO the role.',
  );
}
