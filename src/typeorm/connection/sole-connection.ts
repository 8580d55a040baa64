import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataSource, QueryRunner, ReplicationMode } from 'typeorm';

import { KeyStateError } from '../../errors';
import { dialectOf } from '../dialect/dialect-of';

/** How long statements are held back until those under way have ended. */
const PATIENCE_MS = 200;
const ATTEMPTS = 50;

/** The part of TypeORM's drivers for SQLite that is used. */
interface Driver {
  /** The query runner that everybody shares. */
  readonly queryRunner: SqliteRunner | undefined;
  createQueryRunner: (mode: ReplicationMode) => SqliteRunner;
}

/** The part of TypeORM's query runners for SQLite that is used. */
type SqliteRunner = QueryRunner & { readonly transactionDepth: number };

type Send = (sql: string, parameters?: unknown[], structured?: boolean) => Promise<unknown>;

interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
  /** Whether the statements that were under way when it closed have ended. */
  isQuiet: boolean;
}

const soleConnections = new WeakMap<DataSource, SoleConnection>();

/** Returns the only connection of a DataSource; undefined if each query runner has its own. */
export function soleConnection(dataSource: DataSource): SoleConnection | undefined {
  if (!dialectOf(dataSource).transactions.shareConnection) return undefined;
  const known = soleConnections.get(dataSource) ?? new SoleConnection(dataSource);
  soleConnections.set(dataSource, known);
  return known;
}

/**
 * SQLite's only connection. Code that shares it joins any transaction on it unknowingly, and a rollback
 * would undo writes that were reported as stored. So a transaction of the library has the connection to
 * itself, while other statements wait.
 *
 * Only `query` waits, through which TypeORM also sends BEGIN, COMMIT and ROLLBACK. What it notes of
 * transactions, which `save()` goes by, changes in the usual order.
 */
export class SoleConnection {
  readonly #dataSource: DataSource;
  readonly #driver: Driver;
  readonly #createRunner: (mode: ReplicationMode) => SqliteRunner;
  /** The query runner that holds the connection exclusively, in the code that runs for it. */
  readonly #inside = new AsyncLocalStorage<QueryRunner>();
  #watched: QueryRunner | undefined;
  #underWay = 0;
  #onQuiet: (() => void) | undefined;
  #gate: Gate | undefined;
  #alone: QueryRunner | undefined;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
    this.#driver = dataSource.driver as unknown as Driver;
    this.#createRunner = this.#driver.createQueryRunner.bind(this.#driver);
    // There is a new one after each `initialize()`.
    this.#driver.createQueryRunner = (mode) => {
      if (this.#isInside) return this.#alone as SqliteRunner;
      const runner = this.#createRunner(mode);
      if (runner !== this.#watched) this.#watch(runner);
      return runner;
    };
  }

  /**
   * Runs `work` with a query runner of its own while all other statements wait, or `inTransaction` if
   * the application has a transaction open.
   *
   * @throws {@link KeyStateError}, retryable, if the statements of others do not end
   */
  async whileAlone<T>(
    work: (runner: QueryRunner) => Promise<T>,
    inTransaction: () => Promise<T>,
  ): Promise<T> {
    // Waiting for itself would never end.
    if (this.#isInside) return inTransaction();
    await this.#closeGate();
    try {
      if (!this.#isInTransaction) return await this.#withOwnRunner(work);
    } finally {
      this.#openGate();
    }
    return inTransaction();
  }

  /** Whether the caller runs within `work`, as an audit sink or a subscriber may: it joins the transaction. */
  get #isInside(): boolean {
    return this.#alone !== undefined && this.#inside.getStore() === this.#alone;
  }

  /** Does not go by `isTransactionActive`, which is already set while a BEGIN waits for the gate. */
  get #isInTransaction(): boolean {
    return (this.#driver.queryRunner?.transactionDepth ?? 0) > 0;
  }

  async #withOwnRunner<T>(work: (runner: QueryRunner) => Promise<T>): Promise<T> {
    const runner = this.#ownRunner();
    this.#alone = runner;
    try {
      return await this.#inside.run(runner, () => work(runner));
    } finally {
      this.#alone = undefined;
      // While it is in use, every promise of the process costs more on Node.js 20 and 22.
      this.#inside.disable();
      // Code that still holds it must not interfere with the statements of others.
      Object.assign(runner, { isReleased: true });
    }
  }

  /** Creates another runner on the same connection, whose transaction others do not find active. */
  #ownRunner(): QueryRunner {
    const { queryRunner, createQueryRunner } = this.#driver;
    // The driver creates a new one only if it has none.
    Object.assign(this.#driver, { queryRunner: undefined, createQueryRunner: this.#createRunner });
    try {
      return this.#dataSource.createQueryRunner('master');
    } finally {
      Object.assign(this.#driver, { queryRunner, createQueryRunner });
    }
  }

  async #closeGate(): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      while (this.#gate !== undefined) await this.#gate.opened;
      const gate = newGate();
      this.#gate = gate;
      if (await this.#statementsEnd()) {
        gate.isQuiet = true;
        // Lets code use the driver's connection that it was just given.
        await nextTurn();
        return;
      }
      // A subscriber to queries may send statements within one, which would be a deadlock.
      this.#openGate();
      await nextTurn();
    }
    throw neverQuiet();
  }

  #openGate(): void {
    const gate = this.#gate;
    this.#gate = undefined;
    gate?.open();
  }

  #statementsEnd(): Promise<boolean> {
    if (this.#underWay === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (isQuiet: boolean): void => {
        clearTimeout(timer);
        this.#onQuiet = undefined;
        resolve(isQuiet);
      };
      const timer = setTimeout(done, PATIENCE_MS, false);
      this.#onQuiet = () => {
        done(true);
      };
    });
  }

  /**
   * Counts the statements under way: the sqlite3 driver runs them on threads, and subscribers may take their
   * time with either driver. Callers get the promise that counts, so that an unhandled rejection remains one.
   */
  #watch(runner: SqliteRunner): void {
    this.#watched = runner;
    const send = runner.query.bind(runner) as Send;
    const connect = runner.connect.bind(runner);
    const end = (): void => {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#onQuiet?.();
    };
    const ended = (result: unknown): unknown => {
      end();
      return result;
    };
    const failed = (error: unknown): never => {
      end();
      throw error;
    };
    const query: Send = (sql, parameters, structured) => {
      if (this.#gate === undefined) {
        this.#underWay += 1;
        return send(sql, parameters, structured).then(ended, failed);
      }
      if (this.#isInside && this.#alone !== undefined) {
        return this.#alone.query(sql, parameters, structured as true);
      }
      return this.#gate.opened.then(() => query(sql, parameters, structured));
    };
    // Runs over rows use the driver's connection itself. Statements under way need it to finish.
    const connectInTurn = (): Promise<unknown> =>
      this.#gate?.isQuiet === true && !this.#isInside
        ? this.#gate.opened.then(connectInTurn)
        : connect();
    Object.assign(runner, { query, connect: connectInTurn });
  }
}

function newGate(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open, isQuiet: false };
}

function neverQuiet(): KeyStateError {
  return new KeyStateError(
    "The database's only connection has had statements under way for too long. Try again when they have ended.",
    { retryable: true },
  );
}
