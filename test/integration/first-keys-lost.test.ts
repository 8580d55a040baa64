import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describePostgresAndSqlite } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

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

describePostgresAndSqlite('A first key, where there was one before', (kind) => {
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

      await dataSource.query('INSERT INTO data_keys SELECT * FROM saved');
      await write(2);
      expect(await restarted.getRepository(Letter).findOneBy({ id: 2 })).toMatchObject({
        text: 'new',
      });
    },
  );

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
    expect(await audit.verify()).toMatchObject({ ok: true });
  });
});
