import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions, KeyTableAnchor } from '../../src';
import { countedState } from '../../src/doctor/encryption-state';
import { operatorTasks } from '../../src/doctor/operator-tasks';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { copyRows } from '../support/own-columns';

@Entity({ name: 'letter' })
class Letter {
  @PrimaryColumn() id!: number;
  @Encrypted({ nullable: true, type: 'string' }) text!: string | null;
}

@Entity({ name: 'letter' })
class RefiledLetter {
  @PrimaryColumn() id!: number;
  @Encrypted({ key: 'letters', id: 'Letter.text', nullable: true, type: 'string' }) text!:
    string | null;
}

@Entity({ name: 'letter' })
class ClearLetter {
  @PrimaryColumn() id!: number;
  @Column({ type: 'text', nullable: true }) text!: string | null;
}

describeDiagonal('A first key, where there was one before', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  afterEach(() => cleanup.run());

  async function start(
    options: Partial<FieldEncryptionOptions> = {},
    entity: unknown = Letter,
  ): Promise<DataSource> {
    const dataSource = protect(
      database,
      { application: 'post', ...options },
      { entities: [entity] as never },
    );
    return cleanup.add(await dataSource.initialize());
  }

  async function written(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    database = await cleanup.create(kind, { synchronize: true });
    const dataSource = await start(options);
    await dataSource.getRepository(Letter).insert({ id: 1, text: 'dear' });
    return dataSource;
  }

  const keysIn = (dataSource: DataSource): Promise<unknown[]> =>
    dataSource.query("SELECT name, id FROM data_keys WHERE purpose = 'data'");

  /** What names it: values that are stored, with or without a log; or the log, where none are. */
  it.each([
    ['stored values show it', { audit: false }, [], /values are stored under it/],
    ['the audit log knows it', {}, ['DELETE FROM letter'], /the audit log knows it/],
  ] as const)(
    'is not made while %s; the row that comes back serves on',
    async (_what, options, statements, evidence) => {
      const dataSource = await written(options);
      const [key] = await fieldEncryption(dataSource).keys.list();
      await dataSource.query(
        "CREATE TABLE saved AS SELECT * FROM data_keys WHERE purpose = 'data'",
      );
      await dataSource.query("DELETE FROM data_keys WHERE purpose = 'data'");
      for (const statement of statements) await dataSource.query(statement);

      const restarted = await start(options);
      const write = (id: number): Promise<unknown> =>
        restarted.getRepository(Letter).insert({ id, text: 'new' });
      const save = restarted.getRepository(Letter).save({ id: 3, text: 'new' });
      for (const refused of [
        write(2),
        save,
        fieldEncryption(restarted).ready(),
        fieldEncryption(restarted).keys.rotate(),
      ]) {
        const error = await rejection(refused);
        expect(error).toMatchObject({
          code: 'ERR_KEY_NOT_FOUND',
          keyId: key?.id,
          retryable: false,
        });
        expect(error.message).toMatch(evidence);
        expect(error.message).toMatch(/Restore its row/);
      }
      expect(await keysIn(dataSource)).toEqual([]);

      await dataSource.query(copyRows('saved', 'data_keys'));
      await write(2);
      expect(await restarted.getRepository(Letter).findOneBy({ id: 2 })).toMatchObject({
        text: 'new',
      });
    },
  );

  it.each([
    ['rows', "DELETE FROM data_keys WHERE purpose = 'data'"],
    ['table', 'DROP TABLE data_keys'],
  ])('is asked back by doctor and status, where its %s are gone', async (_what, statement) => {
    const dataSource = await written();
    await dataSource.query(statement);
    const restarted = await start();
    const findings = await fieldEncryption(restarted).doctor();
    expect(findings).toContainEqual(
      expect.objectContaining({
        code: 'KEY_LOST',
        level: 'error',
        remedy: expect.stringMatching(
          /Restore the data_keys table.*field-encryption keys restore <file>/,
        ),
      }),
    );
    expect(findings.map(({ code }) => code)).not.toContain('KEY_MISSING');
    const due = operatorTasks(await countedState(installationOf(restarted)));
    expect(due.map(({ command }) => command)).toContain('keys restore <file>');
    expect(due.map(({ command }) => command)).not.toContain('init');
  });

  it('is missing, and init makes it, where there never was one', async () => {
    database = await cleanup.create(kind, { synchronize: true });
    const dataSource = cleanup.add(protect(database, {}, { entities: [Letter] as never }));
    installationOf(dataSource).preparesAtStart = false;
    await dataSource.initialize();
    const findings = await fieldEncryption(dataSource).doctor();
    expect(findings).toContainEqual(
      expect.objectContaining({
        code: 'KEY_MISSING',
        remedy: expect.stringMatching(/^Nothing has to be done/),
      }),
    );
    expect(findings.map(({ code }) => code)).not.toContain('KEY_LOST');
    const due = operatorTasks(await countedState(installationOf(dataSource)));
    expect(due.map(({ command }) => command)).toEqual(['init']);
  });

  it('is not made in the place of one whose row was renamed', async () => {
    const dataSource = await written({ audit: false });
    await dataSource.query("UPDATE data_keys SET name = 'renamed' WHERE purpose = 'data'");
    const restarted = await start({ audit: false });
    const error = await rejection(restarted.getRepository(Letter).insert({ id: 2, text: 'new' }));
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP' });
    expect(await keysIn(dataSource)).toHaveLength(1);
  });

  it('is made for a column that names another key from now on', async () => {
    await written();
    const dataSource = await start({}, RefiledLetter);
    await dataSource.getRepository(RefiledLetter).insert({ id: 2, text: 'new' });
    expect(await keysIn(dataSource)).toHaveLength(2);
  });

  it('is made for a table of cleartext, whatever it looks like', async () => {
    database = await cleanup.create(kind, { synchronize: true });
    const plain = await start({}, ClearLetter);
    const looks = [
      'AQID',
      'A'.repeat(80),
      // The very form of a ciphertext, under a key that there never was.
      `AQ${'Xy_z-9ab'.repeat(8)}xyAAAA`,
      Buffer.from(`01${'ab'.repeat(20)}`, 'hex').toString('base64url'),
      'dear',
    ];
    await plain.getRepository(ClearLetter).insert(looks.map((text, id) => ({ id, text })));
    const dataSource = await start({ legacyPlaintext: ['Letter.text'] });
    await dataSource.getRepository(Letter).insert({ id: 9, text: 'new' });
    expect(await keysIn(dataSource)).toHaveLength(1);
  });

  it('is made again once it was given up', async () => {
    const dataSource = await written();
    await dataSource.query("DELETE FROM data_keys WHERE purpose = 'data'");
    await dataSource.query('DELETE FROM letter');
    const restarted = await start();
    const { keys, audit } = fieldEncryption(restarted);
    const { epoch } = await keys.acceptEpoch(10, { reason: 'nothing is left that needs it' });
    expect(epoch).toBe(11);
    await restarted.getRepository(Letter).insert({ id: 2, text: 'new' });
    // A number of its own: the first one comes back with a backup.
    expect(await keys.list()).toMatchObject([{ version: 2 }]);
    expect(await audit.verify()).toMatchObject({ ok: true });
  });

  /** In memory, and so of the test's own process. */
  function anchor(): KeyTableAnchor {
    let text: string | undefined;
    return {
      read: () => Promise.resolve(text),
      write: (state) => {
        text = state;
        return Promise.resolve();
      },
    };
  }

  it.each([
    ['the audit log', {}, [], true],
    ['a running process', { audit: false }, [], false],
    [
      'the anchor',
      { anchor: anchor() },
      ['DELETE FROM field_encryption_audit WHERE key_version > 1'],
      true,
    ],
  ] as const)(
    'and whose newest version is gone, gets another number for the next while %s knows it',
    async (_what, options, statements, restarts) => {
      const running = await written(options);
      await fieldEncryption(running).keys.rotate();
      const lost = await fieldEncryption(running).keys.rotate();
      expect(lost.version).toBe(3);
      await running.query(`DELETE FROM data_keys WHERE id = '${lost.id}'`);
      for (const statement of statements) await running.query(statement);

      const { keys } = fieldEncryption(restarts ? await start(options) : running);
      expect((await keys.rotate()).version).toBeGreaterThan(3);
      const versions = (await keys.list()).map(({ version }) => version);
      expect(versions).not.toContain(3);
    },
  );

  it('is not kept from its next version by numbers that somebody made up', async () => {
    const dataSource = await written();
    await fieldEncryption(dataSource).keys.rotate();
    await dataSource.query(
      "UPDATE data_keys SET version = 2147483647 WHERE version = 1 AND purpose = 'data'",
    );
    await dataSource.query(
      'UPDATE field_encryption_audit SET key_version = 2147483647 WHERE key_version = 1',
    );
    const { keys } = fieldEncryption(await start());
    expect(await keys.rotate()).toMatchObject({ version: 3, state: 'active' });
  });
});
