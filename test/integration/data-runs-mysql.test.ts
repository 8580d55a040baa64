import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import { mariadb } from '../support/database-kinds';
import { describeDatabases } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { rawRows } from '../support/stored-rows';

@Entity()
class Page {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
  @Encrypted({ nullable: true }) @BlindIndex() title!: string | null;
  @Column({ type: 'int', default: 0 }) reads!: number;
}

/** Pools emit their connections when they are made. */
interface PoolOf {
  readonly pool: {
    on(event: 'connection', done: (connection: { query(sql: string): void }) => void): void;
  };
}

describeDatabases([mariadb], 'A run on MySQL', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Page], synchronize: true });
    dataSource = cleanup.add(
      await protect(database, { legacyPlaintext: ['Page.text', 'Page.title'] }).initialize(),
    );
  });
  afterEach(() => cleanup.run());

  const pages = () => dataSource.getRepository(Page);
  const handle = () => fieldEncryption(dataSource);

  it('writes rows that are longer together than a statement may be', async () => {
    const [row] = await dataSource.query<{ most: number }[]>('SELECT @@max_allowed_packet AS most');
    const length = Math.floor(Number(row?.most) / 6);
    for (let id = 1; id <= 5; id++) await pages().insert({ id, text: String(id).repeat(length) });
    await handle().keys.rotate();
    expect(await handle().reencrypt()).toMatchObject({ changed: 5, remaining: 0, conflicts: 0 });
    // Cleartext that is no plain ASCII takes twice the bytes, and more.
    await dataSource.query(
      `UPDATE page SET text = REPEAT('é', ${String(Math.floor(length / 3))}) WHERE id = 2`,
    );
    expect(await handle().encrypt()).toMatchObject({ changed: 1, remaining: 0 });
    for (const { id, text } of await pages().find()) {
      expect(
        text === (id === 2 ? 'é'.repeat(Math.floor(length / 3)) : String(id).repeat(length)),
      ).toBe(true);
    }
    expect(await handle().decrypt()).toMatchObject({ changed: 5, remaining: 0 });
  });

  it('lists a row that is longer than a statement may be, and goes on with its neighbours', async () => {
    const [row] = await dataSource.query<{ most: number }[]>('SELECT @@max_allowed_packet AS most');
    // As base64, it is a third longer.
    const length = String(Math.floor(Number(row?.most) * 0.8));
    for (const id of [1, 2, 3]) await pages().insert({ id, text: 'x' });
    await dataSource.query("UPDATE page SET text = 'canary'");
    await dataSource.query(`UPDATE page SET text = REPEAT('b', ${length}) WHERE id = 2`);
    expect(await handle().encrypt()).toMatchObject({
      ...{ changed: 2, failed: 1, remaining: 1 },
      failures: [
        { entity: 'Page', property: 'text', primaryKey: [2], code: 'ERR_UNSUPPORTED_VALUE' },
      ],
    });
    expect(await pages().findOneByOrFail({ id: 3 })).toMatchObject({ text: 'canary' });
    await dataSource.query("UPDATE page SET text = 'canary' WHERE id = 2");
    expect(await handle().encrypt()).toMatchObject({ changed: 1, failed: 0, remaining: 0 });
  });

  it('reads no cleartext in a session that loses characters', async () => {
    await pages().insert({ id: 1, text: '1' });
    await dataSource.query("UPDATE page SET text = 'Łódź, 東京'");
    dataSource = cleanup.add(
      await protect(database, { legacyPlaintext: ['Page.text'] }, { poolSize: 1 }).initialize(),
    );
    await dataSource.query('SET character_set_results = latin1');
    const refused = await rejection(handle().encrypt());
    expect(refused).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(refused.message).toMatch(/character_set_results.*utf8mb4/);
    await dataSource.query('SET character_set_results = utf8mb4');
    expect(await handle().encrypt()).toMatchObject({ changed: 1 });
    expect(await pages().findOneByOrFail({ id: 1 })).toMatchObject({ text: 'Łódź, 東京' });
  });

  it('puts back cleartext with every character', async () => {
    const texts = ["it's", '\\', '"', '😀 ? :x', '', '\u0000', 'ß\n', '--', '%_'];
    for (const [id, text] of texts.entries()) await pages().insert({ id, text, title: text });
    const before = await pages().find();
    expect(await handle().decrypt()).toMatchObject({ changed: texts.length, remaining: 0 });
    expect((await rawRows(dataSource, Page)).map(({ text }) => text)).toEqual(texts);
    expect(await handle().encrypt()).toMatchObject({ changed: texts.length, remaining: 0 });
    expect(await pages().find()).toEqual(before);
  });

  it('keeps columns that renew themselves, and settings of the session', async () => {
    await dataSource.query(
      'ALTER TABLE page ADD seen datetime(6) DEFAULT NOW(6) ON UPDATE NOW(6), ADD twice int AS (`reads` * 2) STORED',
    );
    const settings = [
      'sql_safe_updates = 1',
      'innodb_lock_wait_timeout = 33',
      "time_zone = '-03:00'",
    ];
    const { pool } = dataSource.driver as unknown as PoolOf;
    pool.on('connection', (connection) => {
      connection.query(`SET ${settings.join(', ')}`);
    });
    await pages().insert([1, 2, 3].map((id) => ({ id, text: `canary ${String(id)}` })));
    const before = await rawRows(dataSource, Page);
    await handle().keys.rotate();
    expect(await handle().reencrypt({ batchSize: 2 })).toMatchObject({ changed: 3, remaining: 0 });
    const kept = (row: object): object => ({ ...row, text: '' });
    expect((await rawRows(dataSource, Page)).map(kept)).toEqual(before.map(kept));
    const runners = Array.from({ length: 10 }, () => dataSource.createQueryRunner());
    const waits = await Promise.all(
      runners.map((runner) => runner.query('SELECT @@innodb_lock_wait_timeout AS s')),
    );
    await Promise.all(runners.map((runner) => runner.release()));
    expect(new Set(waits.flat().map(({ s }: { s: unknown }) => Number(s)))).not.toContain(0);
  });

  it('leaves the application its locks beside the rows, without a deadlock', async () => {
    await pages().insert([1, 2, 3].map((id) => ({ id, text: 'x', title: `canary ${String(id)}` })));
    expect(await handle().decrypt()).toMatchObject({ changed: 3, remaining: 0 });
    const application = dataSource.createQueryRunner();
    await application.startTransaction('REPEATABLE READ');
    // A lock on the gap that all tokens are to be inserted in.
    await application.query("SELECT 1 FROM page WHERE title_bidx > '' FOR UPDATE");
    const running = handle().encrypt();
    // While pages are tried.
    await sleep(100);
    await application.query('UPDATE page SET `reads` = 9 WHERE id = 2');
    await application.commitTransaction();
    await application.release();
    expect(await running).toMatchObject({ changed: 3, failed: 0, remaining: 0 });
    expect(await pages().findOneBy({ title: 'canary 2' })).toMatchObject({ id: 2, reads: 9 });
  });
});
