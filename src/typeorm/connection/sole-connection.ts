import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataSource, QueryRunner, ReplicationMode } from 'typeorm';
import { KeyStateError } from '../../errors';

/** Drivers that give everybody the one connection they have, through one query runner. */
const DRIVERS_WITH_ONE_CONNECTION = ['better-sqlite3', 'sqlite'];

/** For how long statements are held back until those under way have ended. */
const PATIENCE_MS = 200;
const ATTEMPTS = 50;

/** The part of TypeORM's drivers for SQLite that is used. */
interface Driver {
  /** The query runner that everybody shares. */
  readonly queryRunner: SqliteRunner | undefined;
  createQueryRunner: (mode: ReplicationMode) => SqliteRunner;
}

/** What TypeORM keeps in every query runner of SQLite. */
type SqliteRunner = QueryRunner & { readonly transactionDepth: number };

type Send = (sql: string, parameters?: unknown[], structured?: boolean) => Promise<unknown>;

interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
  /** Whether all statements have ended that were under way when it closed. */
  isQuiet: boolean;
}

const soleConnections = new WeakMap<DataSource, SoleConnection>();

/** The only connection of a DataSource; undefined where query runners have one each. */
export function soleConnection(dataSource: DataSource): SoleConnection | undefined {
  if (!DRIVERS_WITH_ONE_CONNECTION.includes(dataSource.options.type)) return undefined;
  const known = soleConnections.get(dataSource) ?? new SoleConnection(dataSource);
  soleConnections.set(dataSource, known);
  return known;
}

/**
 * SQLite's only connection. All code that shares it joins any transaction on it without knowing, and a
 * rollback takes writes along that somebody was told are stored. So a transaction of the library's
 * has it alone: other statements wait meanwhile.
 *
 * Only `query` waits, which TypeORM sends BEGIN, COMMIT and ROLLBACK through, too: what it notes of
 * transactions beside them changes in the same order as ever, and is what `save()` goes by.
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
   * Runs `work` with a query runner of its own while everybody else's statements wait, or
   * `inTransaction` where somebody is in the middle of a transaction.
   *
   * @throws {@link KeyStateError}, retryable, when the statements of others do not end
   */
  async whileAlone<T>(
    work: (runner: QueryRunner) => Promise<T>,
    inTransaction: () => Promise<T>,
  ): Promise<T> {
    // Code that waits for itself would do so for ever.
    if (this.#isInside) return inTransaction();
    await this.#closeGate();
    try {
      if (!this.#isInTransaction) return await this.#withOwnRunner(work);
    } finally {
      this.#openGate();
    }
    return inTransaction();
  }

  /** An audit sink or a subscriber may use the DataSource within `work`: it joins, as on any one connection. */
  get #isInside(): boolean {
    return this.#alone !== undefined && this.#inside.getStore() === this.#alone;
  }

  /** Not `isTransactionActive`, which is set already while a BEGIN waits for the gate. */
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
      // While it is in use, Node.js 20 and 22 make every promise of the process dearer.
      this.#inside.disable();
      // Code that still holds it must not send anything into the midst of others.
      Object.assign(runner, { isReleased: true });
    }
  }

  /** Another runner on the same connection: its transaction is not the one that others find active. */
  #ownRunner(): QueryRunner {
    const { queryRunner, createQueryRunner } = this.#driver;
    // The driver makes a new one only where it remembers none.
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
        // Code that was just given the driver's connection uses it now.
        await nextTurn();
        return;
      }
      // A subscriber to queries may send statements within one, which then waits for us as we do for it.
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
   * Counts the statements under way, as the sqlite3 driver has them on threads and subscribers may
   * take their time with either driver. The promise that counts is the one that callers get: it costs
   * no more than itself, and no rejection goes unseen because the count has seen it.
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
    // Runs over rows use the driver's connection itself. Statements under way need it to end.
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
