import type PgBoss from 'pg-boss';
import type { DataSource } from 'typeorm';

import { ConfigurationError, FieldEncryptionError } from '../../errors';
import { loadPeer } from '../../kms/remote/optional-peer';
import { dialectOf } from '../../typeorm/dialect/dialect-of';
import { DatabaseError, runInterrupted, withConnection } from '../database/run-database';

import type { RunJob } from './run-job';

const QUEUE = 'field-encryption';
/**
 * Not the schema of an application's own pg-boss, which may be of another major version, and whose jobs
 * this one would archive and delete by the wrong settings.
 */
const SCHEMA = 'field_encryption_queue';
/** Seconds between checks for jobs whose worker is gone. */
const UPKEEP_SECONDS = 30;

/** A job to add to the queue. */
export interface NewJob {
  readonly data: RunJob;
  /** The highest is taken first. */
  readonly priority: number;
  /** How often it may fail or lose its worker. */
  readonly retryLimit: number;
}

/** A job that this worker has taken. */
export interface TakenJob extends Omit<NewJob, 'data'> {
  readonly id: string;
  /** Unchecked: anybody with access to the queue may have written it. */
  readonly data: object | null;
}

/** A queue of the jobs of runs, in the application's own PostgreSQL. */
export class JobQueue {
  readonly #boss: PgBoss;

  private constructor(boss: PgBoss) {
    this.#boss = boss;
  }

  /**
   * Opens the queue, creating it if it is missing, runs `work`, and closes it.
   *
   * @throws {@link ConfigurationError} without PostgreSQL or without the package `pg-boss`, and for a queue
   * that cannot be opened
   * @throws {@link RunInterruptedError} when the database fails
   */
  static async with<T>(dataSource: DataSource, work: (queue: JobQueue) => Promise<T>): Promise<T> {
    if (!dialectOf(dataSource).runsPgBoss) throw notPostgres(dataSource);
    const Boss = loadPeer('A queue of runs', 'pg-boss') as typeof PgBoss;
    const boss = new Boss({
      db: { executeSql: (sql, values) => execute(dataSource, sql, values) },
      schema: SCHEMA,
      schedule: false,
      maintenanceIntervalSeconds: UPKEEP_SECONDS,
    });
    // Errors of the upkeep. If the database is away, the next statement of the work fails, too.
    boss.on('error', () => undefined);
    try {
      await open(boss);
      return await work(new JobQueue(boss));
    } catch (error) {
      throw runInterrupted(error);
    } finally {
      await boss.stop({ graceful: false });
    }
  }

  async add(jobs: readonly NewJob[]): Promise<void> {
    await this.#boss.insert(
      jobs.map(({ data, priority, retryLimit }) => ({
        data,
        priority,
        retryLimit,
        name: QUEUE,
        retryDelay: 2,
        retryBackoff: true,
        expireInSeconds: 900,
      })),
    );
  }

  /** Takes the next job; `undefined` if there is none at the moment. */
  async take(): Promise<TakenJob | undefined> {
    const [job] = await this.#boss.fetch<object | null>(QUEUE, {
      batchSize: 1,
      includeMetadata: true,
    });
    // A failure in fetch() looks like an empty queue; counting the jobs throws it.
    if (job === undefined) await this.#boss.getQueueSize(QUEUE);
    return job;
  }

  async complete({ id }: TakenJob, result: object): Promise<void> {
    await this.#boss.complete(QUEUE, id, result);
  }

  /** Puts a job back into the queue, to be tried again later. */
  async fail({ id }: TakenJob, reason: object): Promise<void> {
    await this.#boss.fail(QUEUE, id, reason);
  }
}

/** @throws {@link ConfigurationError} for tables that this version of the package did not make */
async function open(boss: PgBoss): Promise<void> {
  try {
    await boss.start();
    await boss.createQueue(QUEUE);
  } catch (cause) {
    if (cause instanceof DatabaseError || cause instanceof FieldEncryptionError) throw cause;
    throw new ConfigurationError(
      `The queue in the schema ${SCHEMA} cannot be opened; see the cause. Another version of pg-boss made it, ` +
        `or somebody changed it. DROP SCHEMA ${SCHEMA} CASCADE lets it be made anew, and the runs be enqueued again.`,
      { cause },
    );
  }
}

interface Client {
  query(sql: string, values: readonly unknown[] | undefined): Promise<{ rows: unknown[] }>;
}

/** Executes SQL on a connection of the DataSource's own pool. */
function execute(
  dataSource: DataSource,
  sql: string,
  values: readonly unknown[] | undefined,
): Promise<{ rows: unknown[] }> {
  return withConnection(dataSource, async (connection) => {
    const client = connection as Client;
    try {
      return await client.query(sql, values);
    } catch (error) {
      // Some statements of pg-boss begin a transaction, and the connection goes back to the pool.
      await client.query('ROLLBACK', undefined).catch(() => undefined);
      throw error;
    }
  });
}

function notPostgres({ options }: DataSource): ConfigurationError {
  return new ConfigurationError(
    `A queue of runs needs PostgreSQL, and this DataSource is of type ${options.type}. ` +
      'Share the rows among processes of one machine instead: --workers.',
  );
}
