import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, RunInterruptedError } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
  @Column({ default: 0 }) reads!: number;
}

@Entity()
class Member {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
}

const ROWS = 30;
const BATCH = { batchSize: 10 };
const textOf = (id: number): string => `canary ${String(id)} ${'x'.repeat(1500)}`;

/** What happens before row 15 is updated. */
const POSTGRES = {
  beforeRow15: (body: string) => [
    `CREATE FUNCTION trouble() RETURNS trigger AS $$ BEGIN ${body}; RETURN NEW; END $$ LANGUAGE plpgsql`,
    'CREATE TRIGGER trouble BEFORE UPDATE ON letter FOR EACH ROW WHEN (OLD.id = 15) EXECUTE FUNCTION trouble()',
  ],
  dropped: 'DROP TRIGGER trouble ON letter',
  timeout: 'PERFORM pg_sleep(60)',
  impatient: { statement_timeout: 400 },
  loss: 'PERFORM pg_terminate_backend(pg_backend_pid())',
  tries: 'CREATE SEQUENCE tries',
  conflicts:
    "CASE nextval('tries') WHEN 1 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; " +
    "WHEN 2 THEN RAISE EXCEPTION 'serialization' USING ERRCODE = '40001'; ELSE NULL; END CASE",
  codes: { timeout: '57014', loss: '57P01' as string | undefined },
};
const MYSQL: typeof POSTGRES = {
  beforeRow15: (body) => [
    `CREATE TRIGGER trouble BEFORE UPDATE ON letter FOR EACH ROW IF OLD.id = 15 THEN ${body}; END IF`,
  ],
  dropped: 'DROP TRIGGER trouble',
  timeout: "SIGNAL SQLSTATE '70100' SET MYSQL_ERRNO = 1317",
  impatient: {} as never,
  loss: 'KILL CONNECTION_ID()',
  tries: 'CREATE TABLE tries (id int AUTO_INCREMENT PRIMARY KEY) ENGINE = MyISAM',
  conflicts:
    'INSERT INTO tries () VALUES (); IF LAST_INSERT_ID() < 3 THEN ' +
    "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'deadlock'; END IF",
  // The driver has no name for the code of MariaDB.
  codes: { timeout: 'ER_QUERY_INTERRUPTED', loss: undefined },
};

describeDiagonal('a database that fails in the middle of a run', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Letter, Member], synchronize: true });
    dataSource = cleanup.add(
      protect(database, { legacyPlaintext: ['Letter.text', 'Member.email'] }),
    );
    await dataSource.initialize();
  });
  afterEach(() => cleanup.run());

  const letters = () => dataSource.getRepository(Letter);
  const handle = () => fieldEncryption(dataSource);

  async function insertLetters(): Promise<void> {
    await letters().insert(
      Array.from({ length: ROWS }, (_, i) => ({ id: i + 1, text: textOf(i + 1) })),
    );
    await handle().keys.rotate();
  }

  async function rowsUnderOldKey(): Promise<number> {
    const [column] = await handle().status();
    return column?.keys.find(({ state }) => state === 'deactivated')?.rows ?? 0;
  }

  async function expectAllRead(): Promise<void> {
    const found = await letters().find({ order: { id: 'ASC' } });
    expect(found.map(({ text }) => text)).toEqual(
      Array.from({ length: ROWS }, (_, i) => textOf(i + 1)),
    );
  }

  /** What failed says so without showing a row, and running again does the rest. */
  async function expectInterrupted(
    run: () => Promise<unknown>,
    code: string | undefined,
    mend: () => Promise<unknown>,
  ): Promise<void> {
    const error = await rejection(run());
    expect(error).toBeInstanceOf(RunInterruptedError);
    expect(error).toMatchObject({
      code: 'ERR_RUN_INTERRUPTED',
      retryable: true,
      cause: { code },
    });
    expect(error.message).toContain('Run again');
    expect(inspect(error, { depth: 9 })).not.toContain('canary');
    const [last] = await handle().audit.list({ limit: 1 });
    expect(last).toMatchObject({ outcome: 'interrupted' });
    await mend();
    await expectAllRead();
    expect(await run()).toMatchObject({ resumed: true, failed: 0, remaining: 0 });
    await expectAllRead();
  }

  if (kind.dialect !== 'sqlite') {
    const trouble = kind.dialect === 'postgres' ? POSTGRES : MYSQL;
    async function beforeRow15(body: string): Promise<void> {
      for (const statement of trouble.beforeRow15(body)) await dataSource.query(statement);
    }
    const dropTrigger = () => dataSource.query(trouble.dropped);

    it('rolls the page back at a statement timeout', async () => {
      await insertLetters();
      await beforeRow15(trouble.timeout);
      await dataSource.destroy();
      const options = { ...database.dataSourceOptions, extra: trouble.impatient };
      const impatient = { ...database, dataSourceOptions: options as never };
      dataSource = cleanup.add(protect(impatient, {}, { synchronize: false }));
      await dataSource.initialize();
      await expectInterrupted(
        () => handle().reencrypt(BATCH),
        trouble.codes.timeout,
        async () => {
          // The first page is done, nothing of the second.
          expect(await rowsUnderOldKey()).toBe(20);
          await dropTrigger();
        },
      );
    });

    it('rolls the page back when the connection is lost', async () => {
      await insertLetters();
      await beforeRow15(trouble.loss);
      await expectInterrupted(
        () => handle().reencrypt(BATCH),
        trouble.codes.loss,
        async () => {
          // The pool finds out when the socket closes.
          while ((await dropTrigger().catch(() => undefined)) === undefined);
          const everyConnection = () =>
            Promise.all(Array.from({ length: 10 }, () => dataSource.query('SELECT 1')));
          while ((await everyConnection().catch(() => undefined)) === undefined);
        },
      );
    });

    it('tries again what failed by a deadlock or a serialization failure', async () => {
      await insertLetters();
      // They count on through rollbacks.
      await dataSource.query(trouble.tries);
      await beforeRow15(trouble.conflicts);
      expect(await handle().reencrypt(BATCH)).toMatchObject({ changed: ROWS, remaining: 0 });
      await expectAllRead();
    });

    it('waits for an insert that may turn out to have the same unique value', async () => {
      const token = await handle().token(Member, 'email', 'canary@x.org');
      await dataSource.query("INSERT INTO member (id, email) VALUES (1, 'canary@x.org')");
      const application = dataSource.createQueryRunner();
      await application.startTransaction();
      await application.query(
        `INSERT INTO member (id, email, email_bidx) VALUES (2, '', '${token}')`,
      );
      const running = handle().encrypt({ entities: [Member] });
      // Longer than a page waits for a row.
      await sleep(300);
      await application.rollbackTransaction();
      await application.release();
      expect(await running).toMatchObject({ changed: 1, failed: 0, remaining: 0 });
    });

    it('works on two ranges with a pool of one connection', async () => {
      await insertLetters();
      const narrow = cleanup.add(protect(database, {}, { poolSize: 1 }));
      await narrow.initialize();
      // A range is ten pages.
      const report = await fieldEncryption(narrow).reencrypt({ batchSize: 1 });
      expect(report).toMatchObject({ changed: ROWS, conflicts: 0, remaining: 0 });
      await expectAllRead();
    });

    it('passes over what the application has locked, and does it when it is free', async () => {
      await insertLetters();
      const application = dataSource.createQueryRunner();
      await application.startTransaction();
      await application.query('SELECT 1 FROM letter WHERE id = 7 FOR UPDATE');
      const report = await handle().reencrypt(BATCH);
      expect(report).toMatchObject({ changed: ROWS - 1, conflicts: 1, remaining: 1 });
      await application.query(sqlOf(kind, 'UPDATE letter SET "reads" = 9 WHERE id = 7'));
      await application.commitTransaction();
      await application.release();
      expect(await handle().reencrypt(BATCH)).toMatchObject({ changed: 1, remaining: 0 });
      expect(await letters().findOneBy({ id: 7 })).toMatchObject({ text: textOf(7), reads: 9 });
    });
  }

  if (kind.dialect === 'sqlite') {
    it('rolls the page back when the disk is full', async () => {
      for (let id = 1; id <= ROWS; id++) {
        await dataSource.query(
          `INSERT INTO letter (id, text) VALUES (${String(id)}, '${textOf(id)}')`,
        );
      }
      // Ciphertexts are longer than their cleartext: the table has to grow by more than a page.
      const [size]: { page_count: number }[] = await dataSource.query('PRAGMA page_count');
      await dataSource.query(`PRAGMA max_page_count = ${String(Number(size?.page_count) + 2)}`);
      await expectInterrupted(
        () => handle().encrypt(BATCH),
        'SQLITE_FULL',
        () => dataSource.query('PRAGMA max_page_count = 100000'),
      );
    });
  }
});
